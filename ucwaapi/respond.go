package ucwaapi

import (
	"net/http"
	"strconv"
	"strings"

	"ucwagate/ucwaapi/representation"
)

// headers are the header values that every answer shares. They are put into
// the map as they are: clients read WWW-Authenticate, X-Ms-diagnostics and the
// like in exactly this spelling, and Go would write them in another.
type headers struct {
	noCache, serverFQDN, version, noSniff, pragma, expires, vary []string
}

func newHeaders(serverName string) headers {
	return headers{
		noCache: []string{"no-cache"}, serverFQDN: []string{serverName}, version: []string{"2.0"},
		noSniff: []string{"nosniff"}, pragma: []string{"no-cache"}, expires: []string{"-1"},
		vary: []string{"Accept-Encoding"},
	}
}

// common sets what belongs on every answer.
func (h *headers) common(to http.Header) {
	to["Cache-Control"] = h.noCache
	to["X-MS-Server-Fqdn"] = h.serverFQDN
	to["X-MS-UcwaVersion"] = h.version
}

// uncached adds what the real server sends with discovery and errors.
func (h *headers) uncached(to http.Header) {
	to["Pragma"] = h.pragma
	to["Expires"] = h.expires
	to["X-Content-Type-Options"] = h.noSniff
}

// send answers with a resource in the representation that was asked for. A
// resource with an entity tag answers 304 to a GET that names it.
func (s *Server) send(k *call, status int, r *representation.Resource) error {
	w := k.Response()
	h := w.Header()
	s.header.common(h)
	if tag := r.ETag(); tag != "" {
		h["ETag"] = k.value(0, `"`+tag+`"`)
		if status == http.StatusOK && matchesETag(k.Request().Header["If-None-Match"], tag) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	s.encode(k, status, func(dst []byte) []byte {
		if k.format.XML {
			return representation.AppendXML(dst, r)
		}
		return representation.AppendJSON(dst, r)
	})
	return nil
}

// encode sends what appendBody makes, in the representation that was asked for.
// Always with its length: one known client reads nothing from a chunked answer.
func (s *Server) encode(k *call, status int, appendBody func([]byte) []byte) {
	buf := s.buffers.Get().(*[]byte)
	defer s.putBuffer(buf)
	*buf = appendBody((*buf)[:0])
	w := k.Response()
	h := w.Header()
	h["Content-Type"] = k.value(1, k.format.ContentType)
	h["Content-Length"] = k.value(2, strconv.Itoa(len(*buf)))
	s.deliver(w, k.Request(), status, *buf)
}

// sendCreated answers 201 with a resource and where it is: generic clients
// read Location on every 201.
func (s *Server) sendCreated(k *call, r *representation.Resource) error {
	k.Response().Header()["Location"] = []string{r.Href}
	return s.send(k, http.StatusCreated, r)
}

// sendNothing answers 204.
func (s *Server) sendNothing(k *call) error {
	s.header.common(k.Response().Header())
	k.Response().WriteHeader(http.StatusNoContent)
	return nil
}

// maxPooled is the largest buffer that is kept for the next answer, in bytes.
const maxPooled = 64 << 10

func (s *Server) putBuffer(buf *[]byte) {
	if cap(*buf) <= maxPooled {
		s.buffers.Put(buf)
	}
}

// writeBody sends a whole body; the headers are set. A write that fails means
// that the client is gone, and nobody is left to tell.
func writeBody(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// writeReason answers with an error body.
func (s *Server) writeReason(w http.ResponseWriter, r *http.Request, e *representation.Reason, status int) {
	h := w.Header()
	s.header.common(h)
	s.header.uncached(h)
	format := representation.Negotiate(r.Header["Accept"])
	var body []byte
	if format.XML {
		body = representation.AppendReasonXML(nil, e)
	} else {
		body = representation.AppendReasonJSON(nil, e)
	}
	h["Content-Type"] = []string{format.ContentType}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	s.deliver(w, r, status, body)
}

// matchesETag compares leniently: clients send tags quoted, unquoted, weak.
func matchesETag(ifNoneMatch []string, tag string) bool {
	for _, line := range ifNoneMatch {
		for item := range strings.SplitSeq(line, ",") {
			item = strings.TrimPrefix(strings.TrimSpace(item), "W/")
			if item == "*" || strings.Trim(item, `"`) == tag {
				return true
			}
		}
	}
	return false
}
