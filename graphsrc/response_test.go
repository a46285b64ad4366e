package graphsrc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

func answer(status int, header ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{}}
	for i := 0; i+1 < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

func TestResponseErrorReadsWhateverGraphAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		resp *http.Response
		body string
		want Error
	}{
		"a complete error object": {
			answer(404, "request-id", "r-1"),
			`{"error":{"code":"Request_ResourceNotFound","message":"no such user","innerError":{"date":"x","request-id":"r-2"}}}`,
			Error{Kind: KindNotFound, Code: "Request_ResourceNotFound", Message: "no such user", RequestID: "r-1"},
		},
		"nobody's address, whatever is quoted": {
			answer(400),
			`{"error":{"code":"Request_BadRequest","message":"Invalid filter: mail eq 'Ana.B@contoso.com' or sip:bo@contoso.com, @odata is none"}}`,
			Error{Kind: KindInvalid, Code: "Request_BadRequest", Message: "Invalid filter: mail eq '(address)' or sip:(address), @odata is none"},
		},
		"the request id of the body where the header has none": {
			answer(403),
			`{"error":{"code":"Authorization_RequestDenied","message":"m","innererror":{"request-id":"r-2"}}}`,
			Error{Kind: KindForbidden, Code: "Authorization_RequestDenied", Message: "m", RequestID: "r-2"},
		},
		"the deepest code wins": {
			answer(400),
			`{"error":{"code":"badRequest","message":"outer","innererror":{"code":"middle","innererror":{"code":"deepest","message":"inner"}}}}`,
			Error{Kind: KindInvalid, Code: "deepest", Message: "outer"},
		},
		"a code that repeats the status does not win": {
			answer(429, "Retry-After", "2.128"),
			`{"error":{"code":"TooManyRequests","message":"slow down","innerError":{"code":"429","status":"429"}}}`,
			Error{Kind: KindThrottled, Code: "TooManyRequests", Message: "slow down", RetryAfter: 2128 * time.Millisecond},
		},
		"a lost delta token behind a 400": {
			answer(400),
			`{"error":{"code":"badRequest","innerError":{"code":"syncStateNotFound","innerError":{"code":"other"}}}}`,
			Error{Kind: KindGone, Code: "syncStateNotFound"},
		},
		"an error without a message":      {answer(500), `{"error":{"code":"X"}}`, Error{Kind: KindUnavailable, Code: "X"}},
		"an empty object":                 {answer(503, "Retry-After", "7"), `{}`, Error{Kind: KindUnavailable, RetryAfter: 7 * time.Second}},
		"a null error":                    {answer(401), `{"error":null}`, Error{Kind: KindUnauthorized}},
		"an error that is a text":         {answer(400), `{"error":"text"}`, Error{Kind: KindInvalid, Message: "text"}},
		"an error that is a list":         {answer(400), `{"error":["text"]}`, Error{Kind: KindInvalid}},
		"a code of another type":          {answer(400), `{"error":{"code":7,"message":{"x":1}}}`, Error{Kind: KindInvalid}},
		"no body":                         {answer(504), ``, Error{Kind: KindTimeout}},
		"an HTML page of a front end":     {answer(502, "Content-Type", "text/html; charset=utf-8", "Retry-After", "3"), `<html><b>Bad Gateway</b></html>`, Error{Kind: KindUnavailable, Message: "the body (text/html) is not a JSON object", RetryAfter: 3 * time.Second}},
		"truncated JSON":                  {answer(429, "Content-Type", "application/json"), `{"error":{"code":"Too`, Error{Kind: KindThrottled, Message: "the body (application/json) is not a JSON object"}},
		"a JSON list without a type":      {answer(409), `[1]`, Error{Kind: KindInvalid, Message: "the body (of no type) is not a JSON object"}},
		"410 gone":                        {answer(410), `{}`, Error{Kind: KindGone}},
		"408 request timeout":             {answer(408), `{}`, Error{Kind: KindTimeout}},
		"509 bandwidth limit":             {answer(509), `{}`, Error{Kind: KindThrottled}},
		"a redirect that is not followed": {answer(302), ``, Error{Kind: KindMalformed}},
		"a success that made no sense":    {answer(200), ``, Error{Kind: KindMalformed}},
		"a message of several lines":      {answer(400), "{\"error\":{\"message\":\"a\\nb\\u0000c\"}}", Error{Kind: KindInvalid, Message: "a bc"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := ResponseError("op", tc.resp, []byte(tc.body))
			want := tc.want
			want.Op, want.Status = "op", tc.resp.StatusCode
			require.Empty(t, cmp.Diff(&want, got))
			require.Contains(t, got.Error(), "op: ")
		})
	}
}

func TestRetryAfterIsNeverNegativeAndNeverTooShort(t *testing.T) {
	const date = "Mon, 02 Jan 2006 15:04:05 GMT"
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "5": 5 * time.Second, " 1.9 ": 1900 * time.Millisecond, "-3": 0, "-0.5": 0,
		"soon": 0, "NaN": 0, "-Inf": 0, "1e300": maxRetryAfter, "Inf": maxRetryAfter, "315": 315 * time.Second,
		"Mon, 02 Jan 2006 15:04:15 GMT":  10 * time.Second,
		"Mon, 02 Jan 2006 15:03:05 GMT":  0,
		"Mon, 02 Jan 2106 15:03:05 GMT":  maxRetryAfter,
		"Monday, 02-Jan-06 15:04:06 GMT": time.Second,
	} {
		t.Run("value "+value, func(t *testing.T) {
			got := ResponseError("op", answer(429, "Retry-After", value, "Date", date), nil)
			require.Equal(t, want, got.RetryAfter)
		})
	}
	t.Run("a date without the sender's clock is measured by our own", func(t *testing.T) {
		soon := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
		got := ResponseError("op", answer(429, "Retry-After", soon), nil).RetryAfter
		require.Greater(t, got, 30*time.Second)
		require.LessOrEqual(t, got, time.Minute)
	})
}

func TestTransportErrorTellsTimeoutsFromOutages(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	inner := &Error{Kind: KindThrottled, RetryAfter: time.Second}
	for name, tc := range map[string]struct {
		err   error
		kind  Kind
		cause error
	}{
		"a passed deadline":  {context.DeadlineExceeded, KindTimeout, context.DeadlineExceeded},
		"a cancelled caller": {fmt.Errorf("x: %w", context.Canceled), KindTimeout, context.Canceled},
		"a socket timeout":   {&net.DNSError{IsTimeout: true}, KindTimeout, nil},
		"a refused dial":     {&url.Error{Op: "Get", URL: "https://h/users/ana", Err: refused}, KindUnavailable, syscall.ECONNREFUSED},
		"a cut connection":   {io.ErrUnexpectedEOF, KindUnavailable, io.ErrUnexpectedEOF},
		"an error of ours":   {&url.Error{Op: "Get", URL: "https://h/users/ana", Err: inner}, KindThrottled, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := TransportError("op", tc.err)
			require.Equal(t, tc.kind, got.Kind)
			require.Equal(t, "op", got.Op)
			require.Zero(t, got.Status)
			if tc.cause != nil {
				require.ErrorIs(t, got, tc.cause)
			}
			require.NotContains(t, got.Error(), "ana", "the URL must not be spelt out")
		})
	}
	require.Empty(t, inner.Op, "an error in the chain is not changed")
	require.Equal(t, "first", TransportError("op", &Error{Op: "first", Kind: KindGone}).Op)
}

func FuzzResponseError(f *testing.F) {
	for _, body := range []string{
		`{"error":{"code":"c","message":"m","innerError":{"code":"i","request-id":"r"}}}`,
		`{}`, `{"error":null}`, `{"error":"text"}`, `{"error":[]}`, `[]`, ``, `<html>`, `{"error":{"cod`,
		"\xff\xfe", `{"error":{"message":"\ud800"}}`, strings.Repeat(`{"error":`, 50),
		strings.Repeat(`{"innererror":`, 50) + `1` + strings.Repeat(`}`, 50),
	} {
		f.Add(429, "application/json", "1.5", []byte(body))
		f.Add(502, "text/html", "Mon, 02 Jan 2006 15:04:05 GMT", []byte(body))
	}
	f.Fuzz(func(t *testing.T, status int, contentType, retryAfter string, body []byte) {
		resp := &http.Response{StatusCode: status, Header: http.Header{
			"Content-Type": {contentType}, "Retry-After": {retryAfter}, "Request-Id": {contentType},
		}}
		e := ResponseError("op", resp, body)
		if e.Kind < KindNotFound || e.Kind > KindGone {
			t.Fatalf("kind %d", e.Kind)
		}
		if e.Status != status || e.RetryAfter < 0 || e.RetryAfter > maxRetryAfter {
			t.Fatalf("status %d, retry after %s", e.Status, e.RetryAfter)
		}
		if len(e.Message) > maxMessage || len(e.Code) > maxCode || len(e.RequestID) > maxRequestID {
			t.Fatal("a field is longer than its bound")
		}
		for _, text := range []string{e.Message, e.Code, e.RequestID} {
			if !utf8.ValidString(text) || strings.ContainsAny(text, "\r\n\x00") {
				t.Fatalf("%q is not fit for a log", text)
			}
		}
		if e.Error() == "" || errors.Unwrap(e) != nil {
			t.Fatal("the error has no text, or a cause")
		}
		if _, err := json.Marshal(e.Message); err != nil {
			t.Fatal(err)
		}
	})
}
