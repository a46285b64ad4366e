package metrics

import (
	"net/http"
	"strings"
)

// Route is where a request goes.
type Route struct {
	// Template is the route's path with names in place of what varies; empty or
	// not among the templates given to Middleware: "other".
	Template string
	// PGet says that the request is one of an event channel, which is held open.
	PGet bool
}

// kindPGet labels requests that are held open.
const kindPGet = "pget"

var httpMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch,
}

// Middleware counts and times the requests to a handler. It asks route for each
// before the handler sees it; the answer may depend on the method and the path
// only. templates are all that route may return.
func (m *Metrics) Middleware(templates []string, route func(*http.Request) Route) func(http.Handler) http.Handler {
	known := make(map[string]bool, len(templates))
	for _, t := range templates {
		known[t] = true
	}
	return func(next http.Handler) http.Handler {
		if m == nil {
			return next
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			to := route(r)
			if !known[to.Template] {
				to.Template = other
			}
			m.serve(next, w, r, to)
		})
	}
}

func (m *Metrics) serve(next http.Handler, w http.ResponseWriter, r *http.Request, to Route) {
	kind, method := other, among(httpMethods, r.Method)
	if to.PGet {
		kind = kindPGet
	}
	flying := m.events.inFlight.WithLabelValues(kind)
	flying.Inc()
	began := m.clk.Now()
	answer := &recorder{ResponseWriter: w}
	returned := false
	defer func() {
		flying.Dec()
		class := answer.class(returned)
		m.events.requests.WithLabelValues(to.Template, method, class).Inc()
		took := m.clk.Now().Sub(began).Seconds()
		if to.PGet {
			m.events.pget.WithLabelValues(class).Observe(took)
			return
		}
		m.events.duration.WithLabelValues(to.Template, method).Observe(took)
	}()
	next.ServeHTTP(answer, r)
	returned = true
}

// recorder notes the status. http.ResponseController finds what else the writer
// can do by Unwrap.
type recorder struct {
	http.ResponseWriter
	status int // 0: nothing was written yet
}

// WriteHeader implements http.ResponseWriter. Informational answers are not the
// answer, with the exception of a change of the protocol.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Flush implements http.Flusher; a writer that cannot flush does nothing.
func (w *recorder) Flush() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// class is the label of the answer. A handler that panicked before it wrote
// anything has the connection cut.
func (w *recorder) class(returned bool) string {
	switch {
	case w.status == 0 && !returned:
		return "aborted"
	case w.status == 0:
		return statusClass(http.StatusOK)
	}
	return statusClass(w.status)
}

var statusClasses = strings.Fields("1xx 2xx 3xx 4xx 5xx")

func statusClass(status int) string {
	if i := status/100 - 1; i >= 0 && i < len(statusClasses) {
		return statusClasses[i]
	}
	return other
}
