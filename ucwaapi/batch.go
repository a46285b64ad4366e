package ucwaapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"ucwagate/ucwaapi/batch"
)

const (
	// batchedPerUser is how many batched requests of a user may be outstanding
	// over all batches (UCWA reference: batch).
	batchedPerUser = 100
	// batchWorkers is how many parts of one batch are executed at once.
	batchWorkers = 8
	// maxPartAnswer and maxBatchAnswer are the most bytes of one part's answer
	// and of all together; what goes beyond is answered 413 in its part.
	maxPartAnswer  = 4 << 20
	maxBatchAnswer = 32 << 20
	// retryBatch is when a client whose batch was refused may try again.
	retryBatch = time.Second
)

var errTooManyBatched = &protocolError{
	errorRow:   errorRow{http.StatusTooManyRequests, codeTooManyRequests, ""},
	message:    fmt.Sprintf("More than %d batched requests would be outstanding; none of these was executed.", batchedPerUser),
	retryAfter: retryBatch,
	limit:      limitBatch,
}

func badRequest(message string) *protocolError {
	return &protocolError{errorRow: errorRow{http.StatusBadRequest, codeBadRequest, ""}, message: message}
}

func undecodable(message string) *protocolError {
	return &protocolError{errorRow: errorRow{http.StatusBadRequest, codeBadRequest, "DeserializationFailure"}, message: message}
}

// outstanding counts the batched requests of each user.
type outstanding struct {
	mu     sync.Mutex
	byUser map[string]int
}

// enter takes n requests upon a user, unless those would be too many.
func (o *outstanding) enter(user string, n int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byUser[user]+n > batchedPerUser {
		return false
	}
	if o.byUser == nil {
		o.byUser = make(map[string]int)
	}
	o.byUser[user] += n
	return true
}

func (o *outstanding) leave(user string, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byUser[user] -= n; o.byUser[user] <= 0 {
		delete(o.byUser, user)
	}
}

// batchPart is one part of a batch: a request, or what is wrong with it.
type batchPart struct {
	request *batch.Request
	err     error
}

func (p *batchPart) writes() bool {
	return p.err == nil && p.request.Method != http.MethodGet && p.request.Method != http.MethodHead
}

// batch executes several requests at once. Their answers stand in the order of
// the requests; each fails by itself. Nothing is executed of a batch that is
// malformed as a whole, or that is too many.
func (s *Server) batch(k *call) error {
	parts, err := s.batchParts(k)
	if err != nil {
		return err
	}
	user := k.principal.Address
	if !s.batched.enter(user, len(parts)) {
		return errTooManyBatched
	}
	defer s.batched.leave(user, len(parts))
	// The batch itself has been counted as one.
	if err := s.admitUser(k.Request().Context(), user, len(parts)-1); err != nil {
		return err
	}
	if s.onBatch != nil {
		s.onBatch(len(parts))
	}
	if x := exchangeOf(k.Request()); x != nil {
		x.Parts = len(parts)
	}

	var body bytes.Buffer
	out := batch.NewWriter(&body, batch.NewBoundary())
	ctx := counted(k.Request().Context())
	for answer := range s.execute(ctx, k, parts) {
		if body.Len()+len(answer.Body) > maxBatchAnswer {
			answer = s.partReason(answer.accept, errAnswerTooLarge)
		}
		err := out.Add(&answer.Response)
		if err != nil {
			answer = s.partReason(answer.accept, err)
			err = out.Add(&answer.Response)
		}
		if err != nil {
			return fmt.Errorf("writing a batch answer: %w", err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("writing a batch answer: %w", err)
	}
	h := k.Response().Header()
	s.header.common(h)
	h["Content-Type"] = []string{out.ContentType()}
	h["Content-Length"] = []string{strconv.Itoa(body.Len())}
	s.deliver(k.Response(), k.Request(), http.StatusOK, body.Bytes())
	return nil
}

// batchParts reads all parts, so that nothing is executed if there are too many.
func (s *Server) batchParts(k *call) ([]batchPart, error) {
	r := k.Request()
	boundary, err := batch.Boundary(r.Header.Get("Content-Type"))
	switch {
	case errors.Is(err, batch.ErrNotBatch):
		return nil, errNotBatch
	case err != nil:
		return nil, undecodable("The Content-Type of a batch is multipart/batching with a boundary: " + err.Error() + ".")
	}
	in := batch.NewReader(http.MaxBytesReader(k.Response(), r.Body, s.maxBody), boundary, batch.Limits{Parts: batchedPerUser})
	var parts []batchPart
	for {
		req, err := in.Next()
		var bad *batch.PartError
		var syntax *batch.SyntaxError
		switch {
		case err == nil:
			parts = append(parts, batchPart{request: req})
		case errors.As(err, &bad):
			parts = append(parts, batchPart{err: undecodable("The part cannot be read: " + bad.Reason + ".")})
		case errors.Is(err, io.EOF):
			return parts, nil
		case errors.As(err, &syntax):
			return nil, undecodable("The batch cannot be read: " + syntax.Reason + ".")
		case errors.Is(err, batch.ErrTooManyParts):
			return nil, errTooManyBatched
		case errors.Is(err, batch.ErrPartTooLarge):
			return nil, errPartTooLarge
		default:
			return nil, unread(err)
		}
	}
}

var (
	errNotBatch = &protocolError{
		errorRow: errorRow{http.StatusUnsupportedMediaType, codeUnsupportedMediaType, "UnsupportedMediaType"},
		message:  "The Content-Type of a batch is multipart/batching with a boundary.",
	}
	errPartTooLarge = &protocolError{
		errorRow: errorRow{http.StatusRequestEntityTooLarge, codeEntityTooLarge, ""}, message: "A part of the batch is too large.",
	}
	errAnswerTooLarge = &protocolError{
		errorRow: errorRow{http.StatusRequestEntityTooLarge, codeEntityTooLarge, ""},
		message:  "The answer is too large for a batch; ask for it by itself.",
	}
)

// batchAnswer is the answer to one part.
type batchAnswer struct {
	batch.Response
	accept []string // of its request
}

// execute runs parts and yields their answers in order. Parts that only read run
// some at a time; one that writes waits for all before it, and all after it for
// it, so that a client that writes twice has the last word and one that reads
// what it has written reads that. It holds no more answers than it has workers.
func (s *Server) execute(ctx context.Context, k *call, parts []batchPart) func(yield func(batchAnswer) bool) {
	return func(yield func(batchAnswer) bool) {
		answers := make(chan chan batchAnswer, batchWorkers-1)
		var work sync.WaitGroup
		defer work.Wait()
		ctx, cancel := context.WithCancel(WithExchange(ctx, nil)) // the parts run at the same time
		defer cancel()
		work.Go(func() {
			defer close(answers)
			var reading sync.WaitGroup
			defer reading.Wait() // also when the client has left: the parts use its request
			for _, part := range parts {
				answer := make(chan batchAnswer, 1)
				select {
				case answers <- answer:
				case <-ctx.Done():
					return
				}
				if part.writes() {
					reading.Wait()
					answer <- s.answerPart(ctx, k, part)
					continue
				}
				reading.Go(func() { answer <- s.answerPart(ctx, k, part) })
			}
		})
		for answer := range answers {
			if !yield(<-answer) {
				return
			}
		}
	}
}

// answerPart executes one part as the request it is, by the same way that every
// other request goes.
func (s *Server) answerPart(ctx context.Context, k *call, part batchPart) batchAnswer {
	if part.err != nil {
		return s.partReason(k.Request().Header["Accept"], part.err)
	}
	accept := part.request.Header["Accept"]
	r, err := s.partRequest(ctx, k, part.request)
	if err != nil {
		return s.partReason(accept, err)
	}
	rec := &recorder{header: make(http.Header)}
	s.handler.ServeHTTP(rec, r)
	if rec.overflow {
		return s.partReason(accept, errAnswerTooLarge)
	}
	return batchAnswer{batch.Response{Status: max(rec.status, http.StatusOK), Header: rec.header, Body: rec.body.Bytes()}, accept}
}

// forwardedHeaders are what a reverse proxy says of the client.
var forwardedHeaders = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Real-Ip"}

// partRequest makes a request of a part. Who asks, and for which web page, is
// what the batch itself says.
func (s *Server) partRequest(ctx context.Context, k *call, part *batch.Request) (*http.Request, error) {
	target, err := url.Parse(part.Target)
	if err != nil || !strings.HasPrefix(target.Path, "/") {
		return nil, badRequest("The target of the part is neither a path nor a URL.")
	}
	if err := batchable(canonicalPath(target.Path)); err != nil {
		return nil, err
	}
	whole := k.Request()
	r, err := http.NewRequestWithContext(ctx, part.Method, (&url.URL{Path: target.Path, RawPath: target.RawPath, RawQuery: target.RawQuery}).String(), bytes.NewReader(part.Body))
	if err != nil {
		return nil, badRequest("The request line of the part is not one of HTTP.")
	}
	r.Header = part.Header
	for _, name := range forwardedHeaders {
		// The proxy that is trusted has not written them: the client has.
		delete(r.Header, name)
		if v := whole.Header[name]; v != nil {
			r.Header[name] = v
		}
	}
	for _, name := range []string{"Authorization", "X-Ms-Origin"} {
		if v := whole.Header[name]; v != nil {
			r.Header[name] = v
		}
	}
	r.Host, r.RemoteAddr, r.TLS, r.RequestURI = whole.Host, whole.RemoteAddr, whole.TLS, target.RequestURI()
	return r, nil
}

// batchable refuses what may not stand in a batch: batches, photos, events, and
// everything that is no part of an application.
func batchable(path string) error {
	rest, ok := strings.CutPrefix(path, applicationsPath+"/")
	if !ok {
		rest, ok = strings.CutPrefix(path, aliasApplicationsPath+"/")
	}
	if !ok && path != applicationsPath && path != aliasApplicationsPath {
		return badRequest("Only requests for applications and what belongs to them may stand in a batch.")
	}
	_, resource, _ := strings.Cut(rest, "/")
	first, _, _ := strings.Cut(resource, "/")
	if strings.HasSuffix(resource, "/contactphoto") { // a photo by its other path
		first = "photo"
	}
	switch first {
	case "batch", "events", "photos", "photo":
		return &protocolError{
			errorRow: errorRow{http.StatusMethodNotAllowed, codeMethodNotAllowed, ""},
			message:  "Requests for batch, events and photos may not stand in a batch.",
		}
	}
	return nil
}

// partReason is the answer to a part that failed before it was executed.
func (s *Server) partReason(accept []string, err error) batchAnswer {
	rec := &recorder{header: make(http.Header)}
	row, reason, _ := describe(err)
	r := &http.Request{Method: http.MethodPost, Header: http.Header{"Accept": accept}}
	s.writeReason(rec, r, reason, row.status)
	return batchAnswer{batch.Response{Status: rec.status, Header: rec.header, Body: rec.body.Bytes()}, accept}
}

// recorder keeps the answer to a part.
type recorder struct {
	header   http.Header
	status   int
	body     bytes.Buffer
	overflow bool
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	if r.body.Len()+len(p) > maxPartAnswer {
		r.overflow = true
		return len(p), nil
	}
	return r.body.Write(p)
}
