package guard

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// Times bound how long the parts of a request may take.
type Times struct {
	// Body is how long a client may take to send a body.
	Body time.Duration
	// Write is how long an HTTP/2 client may take for what is written to a stream
	// at once, and a second more for each 32 KiB of it. Its streams have windows of their own, which a
	// Listener does not see.
	Write time.Duration
	// OnLimit is told of every limit that was met; nil is for nobody.
	OnLimit func(Reason)
}

// maxIgnored is the most of a body that is read although nobody asks for it, in
// bytes; a longer one ends the connection with the answer.
const maxIgnored = 256 << 10

// Timely returns a handler that keeps the times of t around next. A server that
// holds requests for long has no time-outs of its own for all of a request, and
// so would wait for ever for a body that a handler does not read: net/http reads
// it before it sends the answer.
func Timely(t Times, next http.Handler) http.Handler {
	if t.OnLimit == nil {
		t.OnLimit = func(Reason) {}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor >= 2 && t.Write > 0 {
			w = &streamWriter{ResponseWriter: w, times: t}
		}
		if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 || t.Body <= 0 {
			next.ServeHTTP(w, r)
			return
		}
		c := http.NewResponseController(w)
		if c.SetReadDeadline(time.Now().Add(t.Body)) != nil {
			next.ServeHTTP(w, r) // not from a connection
			return
		}
		body := &timelyBody{ReadCloser: r.Body, lift: func() { _ = c.SetReadDeadline(time.Time{}) }, onLimit: t.OnLimit}
		r.Body = body
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			// Such a body has no meaning; a request that is held must not be
			// held with half of it outstanding.
			_, _ = io.CopyN(io.Discard, body, maxIgnored)
		}
		next.ServeHTTP(w, r)
	})
}

// timelyBody lifts the deadline at the end of the body: from then on the server
// reads to learn that the client leaves.
type timelyBody struct {
	io.ReadCloser
	lift    func()
	onLimit func(Reason)
	done    bool
}

// Read tells of a body that is late where somebody reads it; what net/http reads
// after a handler ends the connection without a word.
func (b *timelyBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || b.done {
		return n, err
	}
	b.done = true
	switch {
	case errors.Is(err, io.EOF):
		b.lift()
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.onLimit(SlowBody)
	}
	return n, err
}

// streamWriter gives the client of a stream a time to take what is written, as a
// Listener does for connections. The deadline stays: a small answer is sent when the
// handler has returned, and the next request is another stream.
type streamWriter struct {
	http.ResponseWriter
	times Times
	limit time.Time // of what was written last
	cut   bool      // it was told
}

// WriteHeader implements http.ResponseWriter.
func (w *streamWriter) WriteHeader(status int) {
	w.extend(0)
	w.ResponseWriter.WriteHeader(status)
}

func (w *streamWriter) Write(b []byte) (int, error) {
	w.extend(len(b))
	n, err := w.ResponseWriter.Write(b)
	if err != nil && !w.cut && !time.Now().Before(w.limit) { // the error says only that the stream is closed
		w.cut = true
		w.times.OnLimit(SlowReader)
	}
	return n, err
}

// extend sets the deadline for n bytes.
func (w *streamWriter) extend(n int) {
	w.limit = time.Now().Add(w.times.Write + time.Duration(n)*time.Second/slowest)
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(w.limit)
}

// Flush implements http.Flusher.
func (w *streamWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (w *streamWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
