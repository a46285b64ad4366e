package ucwaapi

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// compressor gzips bodies for clients that ask for it. It always does then,
// whatever the size: one known client can read nothing else once it has asked.
// A body is compressed as a whole, so that its length is known and a P-GET is
// not delayed.
type compressor struct{ pool sync.Pool }

type zipped struct {
	buf bytes.Buffer
	zip *gzip.Writer
}

// accepts reports whether a request asks for gzip.
func accepts(r *http.Request) bool {
	for _, line := range r.Header["Accept-Encoding"] {
		for item := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(item, ";")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") && !refused(params) {
				return true
			}
		}
	}
	return false
}

// refused reports whether the parameters of a coding say q=0.
func refused(params string) bool {
	name, value, _ := strings.Cut(params, "=")
	if !strings.EqualFold(strings.TrimSpace(name), "q") {
		return false
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	return err == nil && q == 0
}

// write compresses body and sends it.
func (c *compressor) write(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	z, _ := c.pool.Get().(*zipped)
	if z == nil {
		z = &zipped{}
		z.zip, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is legal
	}
	defer func() {
		if z.buf.Cap() <= maxPooled {
			c.pool.Put(z)
		}
	}()
	z.buf.Reset()
	z.zip.Reset(&z.buf)
	_, _ = z.zip.Write(body) // into memory: it does not fail
	_ = z.zip.Close()
	h := w.Header()
	h["Content-Encoding"] = []string{"gzip"}
	h["Content-Length"] = []string{strconv.Itoa(z.buf.Len())}
	writeBody(w, r, status, z.buf.Bytes())
}

// deliver sends a body whose type and length are set, compressed if the client
// asks for it.
func (s *Server) deliver(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	h := w.Header()
	if others := h["Vary"]; others == nil {
		h["Vary"] = s.header.vary
	} else {
		h["Vary"] = append(others[:len(others):len(others)], s.header.vary...)
	}
	if accepts(r) {
		s.compressor.write(w, r, status, body)
		return
	}
	writeBody(w, r, status, body)
}
