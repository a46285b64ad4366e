package config

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// checkObservation wants logs and traces to be what they say.
func (r *rules) checkObservation() {
	const access, level = "log.access", "log.level"
	if l := r.config.Log; r.ok(access, level) && l.Access != AccessOff && (l.Level == LogWarn || l.Level == LogError) {
		r.wrong(access, "has no effect with log.level %s: its lines are of the level info", l.Level)
	}
	const endpoint, file = "tracing.endpoint", "tracing.headers_file"
	t := r.config.Tracing
	if t.HeadersFile == "" || !r.readable(file, t.HeadersFile) || !r.ok(endpoint) {
		return
	}
	if t.Endpoint == "" {
		r.wrong(file, "has no effect without endpoint")
		return
	}
	if _, err := t.Headers(); err != nil {
		r.wrong(file, "%s", strings.TrimPrefix(err.Error(), "reading headers_file: "))
	}
	if u, err := url.Parse(t.Endpoint); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		r.warn(file, "is sent in clear: the endpoint is http and on another machine")
	}
}

// Headers returns what headers_file holds, by canonical name; space around names
// and values is not part of them. No error contains a value.
func (t Tracing) Headers() (map[string]string, error) {
	if t.HeadersFile == "" {
		return nil, nil
	}
	content, err := readFile(t.HeadersFile)
	if err != nil {
		return nil, fmt.Errorf("reading headers_file: %w", err)
	}
	headers := make(map[string]string)
	number := 0
	for line := range strings.Lines(string(content)) {
		number++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("reading headers_file: line %d is not of the form Name: value", number)
		}
		name = http.CanonicalHeaderKey(name)
		if _, twice := headers[name]; twice {
			return nil, fmt.Errorf("reading headers_file: line %d has a header that stands above it", number)
		}
		headers[name] = value
	}
	if len(headers) == 0 {
		return nil, errors.New("reading headers_file: there is no header in it")
	}
	return headers, nil
}
