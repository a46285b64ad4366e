package msgraph

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"ucwagate/graphsrc"
)

const (
	// maxAnswer bounds a successful answer after decompression; a page of 999
	// users with all their addresses stays far below it.
	maxAnswer = 16 << 20
	// maxErrorAnswer bounds what is read of an error.
	maxErrorAnswer = 64 << 10
	// maxKeptBuffer is the largest buffer kept for the next answer.
	maxKeptBuffer = 2 << 20
)

// decode reads and closes the body of an answer that is JSON. The status
// decides first: only a 2xx is decoded. A field of the wrong type, a null and
// an unknown field are passed over and leave the Go field empty; what is no
// JSON object at all, or lacks what into requires, is KindMalformed. A nil into
// takes the answer to an action, which says nothing: no body, or any JSON.
func (c *Client) decode(op string, resp *http.Response, into any) error {
	return c.read(op, resp, maxAnswer, func(body []byte) error {
		if err := unmarshal(body, into); err != nil {
			return malformed(op, resp, err.Error())
		}
		return nil
	})
}

// read reads and closes the body of an answer. That of a 2xx goes to use, which
// must not keep it; if it has more than limit bytes after decompression, the
// answer is KindMalformed. Any other status is an error.
func (c *Client) read(op string, resp *http.Response, limit int64, use func(body []byte) error) error {
	defer discard(resp.Body)
	buffer, _ := c.buffers.Get().(*bytes.Buffer)
	buffer.Reset()
	defer func() {
		if buffer.Cap() <= maxKeptBuffer {
			c.buffers.Put(buffer)
		}
	}()
	success := resp.StatusCode >= 200 && resp.StatusCode < 300
	if !success {
		limit = maxErrorAnswer
	}
	// bytes.Buffer keeps room for one more read than it has been told of.
	if resp.ContentLength > 0 && resp.ContentLength < limit {
		buffer.Grow(int(resp.ContentLength) + bytes.MinRead)
	}
	_, err := buffer.ReadFrom(io.LimitReader(resp.Body, limit+1))
	switch {
	case !success:
		// Whatever could be read of it: the status is worth more.
		return graphsrc.ResponseError(op, resp, buffer.Bytes()[:min(int64(buffer.Len()), limit)])
	case err != nil && !isCut(err):
		return graphsrc.TransportError(op, err)
	case err != nil:
		return malformed(op, resp, "the answer is cut short or wrongly compressed")
	case int64(buffer.Len()) > limit:
		return malformed(op, resp, "the answer is too large")
	}
	return use(buffer.Bytes())
}

// isCut reports whether reading failed because of what was sent, not because
// of the network.
func isCut(err error) bool {
	var corrupt flate.CorruptInputError
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrHeader) ||
		errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt)
}

func malformed(op string, resp *http.Response, message string) error {
	e := graphsrc.ResponseError(op, resp, nil)
	e.Kind, e.Message = graphsrc.KindMalformed, message
	return e
}

// validator is implemented by answers that know when they are incomplete.
type validator interface {
	// validate returns an error, fit for a log, if what was decoded lacks a
	// part without which it is no answer.
	validate() error
}

// unmarshal is json.Unmarshal, forgiving about values of another type than
// expected: encoding/json decodes everything else before it reports one.
func unmarshal(data []byte, into any) error {
	if into == nil {
		if len(bytes.TrimSpace(data)) > 0 && !json.Valid(data) {
			return errors.New("the answer is not JSON")
		}
		return nil
	}
	var wrongType *json.UnmarshalTypeError
	if err := json.Unmarshal(data, into); err != nil && !errors.As(err, &wrongType) {
		return errors.New("the answer is not JSON")
	}
	if v, ok := into.(validator); ok {
		return v.validate()
	}
	return nil
}

// page is one page of a collection.
type page[W any] struct {
	Value []W    `json:"value"`
	Next  string `json:"@odata.nextLink"`
	Delta string `json:"@odata.deltaLink"`
	// Count is how many entries all pages hold, if that was asked for.
	Count int `json:"@odata.count"`
}

func (p *page[W]) validate() error {
	if p.Value == nil {
		return errors.New("the answer is not a collection")
	}
	return nil
}

// checkLink refuses a link that leads away from the configured Graph; links
// are otherwise opaque and are sent as they came.
func (c *Client) checkLink(link string) error {
	u, err := url.Parse(link)
	if err != nil || !sameOrigin(u, c.endpoints.base) || u.User != nil ||
		!strings.HasPrefix(u.Path, c.endpoints.base.Path+"/") {
		return errors.New("a link leads away from Graph")
	}
	return nil
}
