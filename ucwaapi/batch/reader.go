package batch

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// The limits that stand for those a caller leaves at zero.
const (
	defaultParts       = 1000
	defaultPartBytes   = 1 << 20
	defaultHeaderBytes = 32 << 10
)

// Limits bounds what a Reader accepts. The zero value of a field stands for the
// default. The size of the whole body is the caller's to bound
// (http.MaxBytesReader): the Reader reads past text before the first part
// without keeping it.
type Limits struct {
	// Parts is the number of parts; more are ErrTooManyParts. Default 1000.
	Parts int
	// PartBytes is the size of one part in bytes, its header lines included;
	// more is ErrPartTooLarge. Default 1 MiB.
	PartBytes int
	// HeaderBytes is the size of all header lines of one part and its request
	// line, in bytes; more is a *PartError. A "Data" header does not count, it
	// is a body. Default 32 KiB.
	HeaderBytes int
}

func (l Limits) withDefaults() Limits {
	if l.Parts <= 0 {
		l.Parts = defaultParts
	}
	if l.PartBytes <= 0 {
		l.PartBytes = defaultPartBytes
	}
	if l.HeaderBytes <= 0 {
		l.HeaderBytes = defaultHeaderBytes
	}
	return l
}

// Reader yields the requests of a batch one after the other. It holds one part
// at a time. It is not for use by several goroutines at once.
type Reader struct {
	in     *bufio.Reader
	dash   []byte // "--boundary"
	limits Limits

	started bool         // the first delimiter has been read
	ended   bool         // the closing delimiter or the end of input has been read
	parts   int          // parts that were not empty
	part    bytes.Buffer // of the part at hand, used again for the next
	failed  error        // what every further Next returns
}

// NewReader returns a Reader of the batch in r with the boundary that Boundary
// found.
func NewReader(r io.Reader, boundary string, l Limits) *Reader {
	reader := &Reader{
		// The buffer has to hold more than a delimiter line; 4 KiB does by far.
		in:     bufio.NewReaderSize(r, 4<<10),
		dash:   []byte("--" + boundary),
		limits: l.withDefaults(),
	}
	if !usableBoundary(boundary) {
		reader.failed = &SyntaxError{Reason: "no usable boundary"}
	}
	return reader
}

// Next returns the next request, or io.EOF after the last one.
//
// A *PartError says that this part cannot be understood but that the parts
// after it can: call Next again. Every other error is final and is returned
// again by every further call: a *SyntaxError, ErrTooManyParts, ErrPartTooLarge,
// or an error of the underlying reader, wrapped. A caller that must not execute
// half a batch reads to the end before it executes anything.
//
// Tolerated: text and empty lines before the first delimiter and after the
// closing one, a byte order mark, LF for CRLF, white space after a delimiter,
// a delimiter twice in a row (an empty part is no part), and a body that ends
// without the closing delimiter or with one that lacks its last two hyphens.
func (r *Reader) Next() (*Request, error) {
	if r.failed != nil {
		return nil, r.failed
	}
	content, err := r.nextPart()
	if err != nil {
		r.failed = err
		return nil, err
	}
	request, reason := parseRequest(content, r.limits.HeaderBytes)
	if reason != "" {
		return nil, &PartError{Part: r.parts, Reason: reason}
	}
	return request, nil
}

// nextPart returns the content of the next part that is not empty. The slice is
// valid until the next call.
func (r *Reader) nextPart() ([]byte, error) {
	if !r.started {
		if err := r.skipPreamble(); err != nil {
			return nil, err
		}
		r.started = true
	}
	for !r.ended {
		content, err := r.readPart()
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(content)) == 0 {
			continue
		}
		if r.parts == r.limits.Parts {
			return nil, ErrTooManyParts
		}
		r.parts++
		return content, nil
	}
	if r.parts == 0 {
		return nil, &SyntaxError{Reason: "no part"}
	}
	return nil, io.EOF
}

// skipPreamble reads up to and including the first delimiter. What stands
// before it is to be ignored (RFC 2046 §5.1.1); the sample library begins with
// an empty line.
func (r *Reader) skipPreamble() error {
	mark := byteOrderMark
	for lineStart := true; ; {
		line, err := r.readLine()
		if err != nil && err != io.EOF {
			return err
		}
		line, mark = bytes.TrimPrefix(line, mark), nil
		if lineStart {
			switch r.delimiter(line) {
			case delimiterOpen:
				r.ended = err != nil
				return nil
			case delimiterClose:
				r.ended = true
				return nil
			case delimiterNone:
			}
		}
		if err != nil {
			return &SyntaxError{Reason: "the boundary does not occur"}
		}
		lineStart = bytes.HasSuffix(line, []byte("\n"))
	}
}

// readPart reads up to and including the next delimiter, or to the end of
// input, and returns what stands before it without the line end that belongs to
// the delimiter.
func (r *Reader) readPart() ([]byte, error) {
	r.part.Reset()
	for lineStart := true; ; {
		line, err := r.readLine()
		if err != nil && err != io.EOF {
			return nil, err
		}
		kind := delimiterNone
		if lineStart {
			kind = r.delimiter(line)
		}
		if kind != delimiterNone {
			r.ended = kind == delimiterClose || err != nil
			return trimLineEnd(r.part.Bytes()), nil
		}
		if r.part.Len()+len(line) > r.limits.PartBytes {
			return nil, ErrPartTooLarge
		}
		r.part.Write(line)
		if err != nil {
			r.ended = true
			return trimLineEnd(r.part.Bytes()), nil
		}
		lineStart = bytes.HasSuffix(line, []byte("\n"))
	}
}

// readLine returns the next line with its line end, or the next piece of a long
// line. With io.EOF, which is never wrapped, it may return the last, unended
// line. The slice is valid until the next call.
func (r *Reader) readLine() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	switch {
	case err == nil, errors.Is(err, bufio.ErrBufferFull):
		return line, nil
	case err == io.EOF: // a wrapped one would be an error of the source, not its end
		return line, io.EOF
	default:
		return nil, fmt.Errorf("reading a batch: %w", err)
	}
}

type delimiterKind int

const (
	delimiterNone delimiterKind = iota
	delimiterOpen
	delimiterClose
)

// delimiter says what delimiter a whole line is. The line has to be nothing but
// the delimiter and white space: one boundary may be the beginning of another,
// and a body may have a line that begins like one.
func (r *Reader) delimiter(line []byte) delimiterKind {
	rest, found := bytes.CutPrefix(line, r.dash)
	if !found {
		return delimiterNone
	}
	rest, closing := bytes.CutPrefix(rest, []byte("--"))
	switch {
	case len(bytes.Trim(rest, " \t\r\n")) > 0:
		return delimiterNone
	case closing:
		return delimiterClose
	default:
		return delimiterOpen
	}
}

// trimLineEnd removes one CRLF or LF from the end.
func trimLineEnd(b []byte) []byte {
	b, _ = bytes.CutSuffix(b, []byte("\n"))
	b, _ = bytes.CutSuffix(b, []byte("\r"))
	return b
}
