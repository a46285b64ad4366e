package ucwaapi

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ucwagate/gateway"
	"ucwagate/ucwaapi/representation"
)

// input decodes query and body of a request. GET and HEAD have no body that
// counts.
func (s *Server) input(k *call) (*representation.Input, error) {
	r := k.Request()
	body, err := s.body(k)
	if err != nil {
		return nil, err
	}
	return representation.ParseInput(r.URL.RawQuery, r.Header.Get("Content-Type"), body)
}

// body reads the body of a request.
func (s *Server) body(k *call) ([]byte, error) {
	r := k.Request()
	if r.Body == nil || r.ContentLength == 0 || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(k.Response(), r.Body, s.maxBody))
	if err != nil {
		return nil, unread(err)
	}
	return body, nil
}

// unread is the error for a body that could not be read.
func unread(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return undecodable("The request body did not come in time.")
	}
	return fmt.Errorf("reading the request body: %w", err)
}

// scalar is input for an operation whose parameters are single values.
func (s *Server) scalar(k *call, names ...string) (*representation.Input, error) {
	in, err := s.input(k)
	if err != nil {
		return nil, err
	}
	if problems := mistyped(in, nil, names...); problems != nil {
		return nil, gateway.Invalid(problems...)
	}
	return in, nil
}

// mistyped names the parameters that are not what they should be: single values,
// or lists of them.
func mistyped(in *representation.Input, lists []string, scalars ...string) []gateway.Parameter {
	var problems []gateway.Parameter
	for _, name := range in.NotText(scalars...) {
		problems = append(problems, gateway.Parameter{Name: name, Problem: "must be a single value"})
	}
	for _, name := range in.NotList(lists...) {
		problems = append(problems, gateway.Parameter{Name: name, Problem: "must be a list of texts"})
	}
	return problems
}

// sorted brings problems that were found in no order into that of their names.
func sorted(problems []gateway.Parameter) []gateway.Parameter {
	slices.SortFunc(problems, func(a, b gateway.Parameter) int { return cmp.Compare(a.Name, b.Name) })
	return problems
}

func oneOf(values []string) string { return "one of " + strings.Join(values, ", ") }

// enum reads a parameter that must be one of some values, in any letter case.
// Without the parameter it returns an empty string.
func enum(in *representation.Input, name string, values ...string) (string, error) {
	text, ok := in.String(name)
	if !ok || text == "" {
		return "", nil
	}
	for _, v := range values {
		if strings.EqualFold(strings.TrimSpace(text), v) {
			return v, nil
		}
	}
	return "", gateway.Invalid(gateway.Parameter{Name: name, Problem: "must be " + oneOf(values)})
}

var (
	errTimeSpan = errors.New("must be a number of minutes, hh:mm:ss or an ISO 8601 duration such as PT5M, from 0 to one day")
	clockSpan   = regexp.MustCompile(`^(?:(\d{1,2})\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.\d{1,7})?)?$`)
	isoSpan     = regexp.MustCompile(`^P(?:(\d{1,3})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,5})M)?(?:(\d{1,6})(?:\.\d{1,9})?S)?)?$`)
)

// maxTimeSpan is the longest time span that means something here.
const maxTimeSpan = 24 * time.Hour

// parseTimeSpan reads a time span, whose form the documentation leaves open:
// whole minutes, [d.]hh:mm[:ss], or an ISO 8601 duration.
func parseTimeSpan(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	var d time.Duration
	switch minutes, err := strconv.ParseFloat(text, 64); {
	case err == nil && minutes >= 0 && minutes <= maxTimeSpan.Minutes():
		d = time.Duration(minutes * float64(time.Minute))
	case err == nil:
		return 0, errTimeSpan
	default:
		parts := clockSpan.FindStringSubmatch(text)
		if parts == nil {
			upper := strings.ToUpper(text)
			if parts = isoSpan.FindStringSubmatch(upper); parts == nil || upper == "P" || strings.HasSuffix(upper, "T") {
				return 0, errTimeSpan
			}
		}
		for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
			n, _ := strconv.Atoi(parts[i+1]) // digits, or empty
			d += time.Duration(n) * unit
		}
	}
	if d > maxTimeSpan {
		return 0, errTimeSpan
	}
	return d, nil
}

// checkPut checks what every PUT must bring: the entity tag of what it replaces,
// and the property that is named for passing through.
func checkPut(k *call, in *representation.Input, tag, passThrough string) error {
	match := k.Request().Header["If-Match"]
	if len(match) == 0 {
		return errPreconditionRequired
	}
	if !matchesETag(match, tag) {
		return errPreconditionFailed
	}
	if text, ok := in.String(passThrough); !ok || !strings.EqualFold(strings.TrimSpace(text), passThroughText) {
		return gateway.Invalid(gateway.Parameter{Name: passThrough, Problem: "must be passed as it was received"})
	}
	return nil
}
