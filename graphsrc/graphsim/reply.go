package graphsim

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// reply is an answer before faults and compression are applied to it.
type reply struct {
	status      int
	contentType string
	header      map[string]string
	body        []byte
}

const jsonType = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"

func jsonReply(body []byte) reply {
	return reply{status: http.StatusOK, contentType: jsonType, body: body}
}

// done answers an action that returns nothing.
func done() reply { return reply{status: http.StatusOK} }

// graphError is an OData error of Graph.
type graphError struct {
	status  int
	code    string
	message string
	header  map[string]string
}

func (e *graphError) Error() string { return e.code + ": " + e.message }

func badRequest(format string, args ...any) error {
	return &graphError{status: http.StatusBadRequest, code: "BadRequest", message: fmt.Sprintf(format, args...)}
}

func unsupportedQuery(format string, args ...any) error {
	return &graphError{status: http.StatusBadRequest, code: "Request_UnsupportedQuery", message: fmt.Sprintf(format, args...)}
}

func resourceNotFound(id string) error {
	return &graphError{
		status: http.StatusNotFound, code: "Request_ResourceNotFound",
		message: fmt.Sprintf("Resource '%s' does not exist or one of its queried reference-property objects are not present.", id),
	}
}

// errorBody is the form of all errors: code, message and an inner error with
// the ids by which support finds a request.
func errorBody(code, message string, now time.Time, requestID, clientRequestID string) []byte {
	return object{{"error", object{
		{"code", code},
		{"message", message},
		{"innerError", object{
			{"date", now.UTC().Format("2006-01-02T15:04:05")},
			{"request-id", requestID},
			{"client-request-id", clientRequestID},
		}},
	}}}.append(nil)
}

// asReply turns an error into an answer; errors that are no graphError are
// faults of the simulator itself.
func (c *call) asReply(err error) reply {
	var e *graphError
	if !errors.As(err, &e) {
		e = &graphError{status: http.StatusInternalServerError, code: "InternalServerError", message: err.Error()}
	}
	return reply{
		status: e.status, contentType: "application/json", header: e.header,
		body: errorBody(e.code, e.message, c.now, c.requestID, c.clientRequestID),
	}
}

// newRequestID is a random GUID (RFC 9562, version 4).
func newRequestID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails, see crypto/rand
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", raw[0:4], raw[4:6], raw[6:8], raw[8:10], raw[10:])
}

// maxBody bounds a request body; 650 ids take 26 kB.
const maxBody = 1 << 20

// readBody reads a JSON body, gzip or plain, into v.
func (c *call) readBody(v any) error {
	if kind := c.r.Header.Get("Content-Type"); kind != "" {
		if media, _, err := mime.ParseMediaType(kind); err != nil || media != "application/json" {
			return &graphError{
				status: http.StatusUnsupportedMediaType, code: "UnsupportedMediaType",
				message: fmt.Sprintf("The content type '%s' is not supported: send application/json.", kind),
			}
		}
	}
	var body io.Reader = c.r.Body
	switch encoding := strings.ToLower(c.r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip":
		unzip, err := gzip.NewReader(body)
		if err != nil {
			return badRequest("The request body is labelled gzip but is not: %v.", err)
		}
		body = unzip
	default:
		return &graphError{
			status: http.StatusUnsupportedMediaType, code: "UnsupportedMediaType",
			message: fmt.Sprintf("The content encoding '%s' is not supported.", encoding),
		}
	}
	raw, err := io.ReadAll(io.LimitReader(body, maxBody+1))
	if err != nil {
		return badRequest("The request body could not be read: %v.", err)
	}
	if len(raw) > maxBody {
		return &graphError{
			status: http.StatusRequestEntityTooLarge, code: "RequestEntityTooLarge",
			message: "The request body is larger than " + strconv.Itoa(maxBody) + " bytes.",
		}
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return badRequest("Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format: %v.", err)
	}
	return nil
}

// zippers are reused because a gzip.Writer is large; being equal to each
// other, they carry no state from one request to the next.
type zippers struct{ pool sync.Pool }

func (z *zippers) zip(plain []byte) ([]byte, error) {
	w, ok := z.pool.Get().(*gzip.Writer)
	if !ok {
		var err error
		if w, err = gzip.NewWriterLevel(nil, gzip.BestSpeed); err != nil {
			return nil, fmt.Errorf("making a compressor: %w", err)
		}
	}
	defer z.pool.Put(w)
	var out bytes.Buffer
	w.Reset(&out)
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("compressing: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compressing: %w", err)
	}
	return out.Bytes(), nil
}

func acceptsGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") && strings.TrimSpace(weight) != "q=0" {
			return true
		}
	}
	return false
}
