package batch

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// written returns the answer that has these responses.
func written(t *testing.T, responses ...*Response) string {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out, "01cf4e5a")
	for _, r := range responses {
		require.NoError(t, w.Add(r))
	}
	require.NoError(t, w.Close())
	return out.String()
}

// part returns what stands between the delimiters of an answer with one part.
func part(t *testing.T, r *Response) string {
	t.Helper()
	const head = "--01cf4e5a\r\nContent-Type: application/http; msgtype=response\r\n\r\n"
	const tail = "\r\n--01cf4e5a--\r\n"
	out := written(t, r)
	require.True(t, strings.HasPrefix(out, head) && strings.HasSuffix(out, tail), out)
	return out[len(head) : len(out)-len(tail)]
}

func sampleResponses() []*Response {
	return []*Response{
		{
			Status: http.StatusOK,
			Header: http.Header{
				"Content-Type":           {"application/json; charset=utf-8"},
				"Cache-Control":          {"no-cache"},
				"ETag":                   {`"2951237871"`},
				"X-MS-Server-Fqdn":       {"lyncweb.contoso.com"},
				"X-Content-Type-Options": {"nosniff"},
				"Connection":             {"keep-alive"},
			},
			Body: []byte("\ufeff{\r\n  \"message\":\"HTTP/1.1\"\r\n}\r\n"),
		},
		{Status: http.StatusNoContent, Header: http.Header{"Cache-Control": {"no-cache"}, "Content-Type": {"text/plain"}, "Content-Length": {"0"}}},
		{
			Status: http.StatusOK,
			Header: http.Header{"Content-Type": {"application/xml; charset=utf-8"}, "Content-Length": {"1"}},
			Body:   []byte("<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<resource rel=\"note\"\n href=\"/n\"/>\r\n"),
		},
		{
			Status: http.StatusConflict,
			Header: http.Header{
				"Content-Type":     {"application/json"},
				"X-Ms-diagnostics": {"1;source=\"a\";reason=\"b\r\nX-Evil: 1\""},
				"WWW-Authenticate": {`MsRtcOAuth href="x"`, `Bearer realm="x"`},
			},
			Body: []byte(`{"code":"Conflict"}`),
		},
	}
}

func TestAnswerMatchesTheGoldenFile(t *testing.T) {
	got := written(t, sampleResponses()...)
	path := filepath.Join("testdata", "answer.golden")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func TestEveryLineOfAnAnswerEndsWithCRLF(t *testing.T) {
	got := written(t, sampleResponses()...)
	require.Equal(t, strings.Count(got, "\n"), strings.Count(got, "\r\n"))
	require.Equal(t, strings.Count(got, "\r"), strings.Count(got, "\r\n"))
}

func TestAnswerCanBeReadWithTheStandardLibrary(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out, NewBoundary())
	responses := sampleResponses()
	for _, r := range responses {
		require.NoError(t, w.Add(r))
	}
	require.NoError(t, w.Close())

	typ, params, err := mime.ParseMediaType(w.ContentType())
	require.NoError(t, err)
	require.Equal(t, "multipart/batching", typ)
	parts := multipart.NewReader(&out, params["boundary"])
	for _, want := range responses {
		part, err := parts.NextRawPart()
		require.NoError(t, err)
		require.Equal(t, "application/http; msgtype=response", part.Header.Get("Content-Type"))
		got, err := http.ReadResponse(bufio.NewReader(part), nil)
		require.NoError(t, err)
		require.Equal(t, want.Status, got.StatusCode)
		body, err := io.ReadAll(got.Body)
		require.NoError(t, err)
		require.NoError(t, got.Body.Close())
		require.Equal(t, want.Body == nil, len(body) == 0)
		require.NotContains(t, got.Header, "X-Evil")
		if want.Status != http.StatusNoContent {
			require.Equal(t, want.Header.Get("Content-Type"), got.Header.Get("Content-Type"))
		}
	}
	_, err = parts.NextRawPart()
	require.Equal(t, io.EOF, err)
}

// sampleLibraryResult is what the sample library's parser keeps of a part.
type sampleLibraryResult struct{ status, text string }

// sampleLibraryParse does what Mime.js of the sample library does: it splits the
// answer at the boundary and each part at CRLF, and judges each line by words in
// it.
func sampleLibraryParse(answer, boundary string) (results []sampleLibraryResult) {
	for section := range strings.SplitSeq(answer, "--"+boundary) {
		section = strings.TrimSpace(section)
		if section == "" || section == "--" {
			continue
		}
		var result sampleLibraryResult
		typeSeen := false
		for line := range strings.SplitSeq(section, "\r\n") {
			switch {
			case !typeSeen && strings.Contains(line, "Content-Type"):
				typeSeen = !strings.Contains(line, "http; msgtype=response")
			case strings.Contains(line, "HTTP/1.1"):
				result.status = strings.Split(line, " ")[1]
			case typeSeen && strings.TrimSpace(line) != "":
				result.text = line
			}
		}
		results = append(results, result)
	}
	return results
}

func TestAnswerCanBeReadByTheSampleLibrary(t *testing.T) {
	require.Equal(t, []sampleLibraryResult{
		{"200", `{   "message":"HTTP\/1.1" }`},
		{"204", ""},
		{"200", `<?xml version="1.0" encoding="utf-8"?> <resource rel="note"  href="/n"/>`},
		{"409", `{"code":"Conflict"}`},
	}, sampleLibraryParse(written(t, sampleResponses()...), "01cf4e5a"))
}

func TestPartsOfAnAnswer(t *testing.T) {
	picture := []byte("\xff\xd8\r\n\xef\xbb\xbf\n")
	for name, test := range map[string]struct {
		in   Response
		want string
	}{
		"without headers and body end with an empty line": {Response{Status: 204}, "HTTP/1.1 204 No Content\r\n\r\n"},
		"have Content-Type as the last header": {
			Response{Status: 200, Header: http.Header{"content-type": {"text/plain"}, "Z": {"1"}, "A": {"2"}}, Body: []byte("x")},
			"HTTP/1.1 200 OK\r\nA: 2\r\nZ: 1\r\nContent-Type: text/plain\r\n\r\nx",
		},
		"have one Content-Type": {
			Response{Status: 200, Header: http.Header{"Content-Type": {"text/a", "text/b"}, "content-type": {"text/c"}}},
			"HTTP/1.1 200 OK\r\nContent-Type: text/a\r\n\r\n",
		},
		"keep the spelling of headers": {
			Response{Status: 401, Header: http.Header{"X-Ms-diagnostics": {"28000"}, "WWW-Authenticate": {"A", "B"}, "ETag": {""}}},
			"HTTP/1.1 401 Unauthorized\r\nETag: \r\nWWW-Authenticate: A\r\nWWW-Authenticate: B\r\nX-Ms-diagnostics: 28000\r\n\r\n",
		},
		"have no headers of a connection": {
			Response{Status: 200, Header: http.Header{"connection": {"x"}, "Transfer-Encoding": {"chunked"}, "TE": {"x"}, "Content-Encoding": {"identity"}}},
			"HTTP/1.1 200 OK\r\n\r\n",
		},
		"have no headers that look like others": {
			Response{Status: 200, Header: http.Header{
				"X-Content-Type-Options": {"nosniff"}, "Via": {"HTTP/1.1 proxy"},
				"Access-Control-Allow-Headers": {"Content-Type"}, "Vary": {"Origin", "Content-Type"},
			}},
			"HTTP/1.1 200 OK\r\nVary: Origin\r\n\r\n",
		},
		"have no header with a name that is none": {
			Response{Status: 200, Header: http.Header{"": {"x"}, "A b": {"x"}, "A\r\nB": {"x"}, "C": {}}},
			"HTTP/1.1 200 OK\r\n\r\n",
		},
		"do not break out of a value": {
			Response{Status: 200, Header: http.Header{"A": {"1\r\n\r\n--01cf4e5b\r\n"}, "Content-Type": {"text/plain\r\nB: 1"}}},
			"HTTP/1.1 200 OK\r\nA: 1    --01cf4e5b\r\nContent-Type: text/plain  B: 1\r\n\r\n",
		},
		"have the length of the body as written": {
			Response{Status: 200, Header: http.Header{"Content-Length": {"9"}, "Content-Type": {"text/plain"}}, Body: []byte("\ufeffa\r\nb\r\n")},
			"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Type: text/plain\r\n\r\na b",
		},
		"have a length of zero where they have one and no body": {
			Response{Status: 200, Header: http.Header{"Content-Length": {"9"}}},
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		},
		"have no body by their status": {
			Response{Status: 304, Header: http.Header{"Content-Length": {"1"}, "Content-Type": {"text/plain"}}, Body: []byte("x")},
			"HTTP/1.1 304 Not Modified\r\nContent-Type: text/plain\r\n\r\n",
		},
		"have a reason for a status without a name": {Response{Status: 599}, "HTTP/1.1 599 Unknown\r\n\r\n"},
		"have a body on one line whatever its line ends": {
			Response{Status: 200, Header: http.Header{"Content-Type": {"text/html; charset='utf-8'"}}, Body: []byte("\n\r\na\rb\nc\r\nd\r\r\n")},
			"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset='utf-8'\r\n\r\na b c d",
		},
		"have a body without a type on one line": {Response{Status: 200, Body: []byte("a\nb")}, "HTTP/1.1 200 OK\r\n\r\na b"},
		"have vendor JSON on one line": {
			Response{Status: 200, Header: http.Header{"Content-Type": {"application/vnd.microsoft.com.ucwa+json; ="}}, Body: []byte("{\n}")},
			"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.microsoft.com.ucwa+json; =\r\n\r\n{ }",
		},
		"have pictures as they are": {
			Response{Status: 200, Header: http.Header{"Content-Type": {"image/jpeg"}}, Body: picture},
			"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + string(picture),
		},
	} {
		t.Run(name, func(t *testing.T) {
			body := bytes.Clone(test.in.Body)
			require.Equal(t, test.want, part(t, &test.in))
			require.Equal(t, body, test.in.Body, "the caller's body has to stay as it is")
		})
	}
}

func TestAnswerWithoutPartsIsTheClosingDelimiter(t *testing.T) {
	require.Equal(t, "--01cf4e5a--\r\n", written(t))
}

func TestWriterRefusesAResponseAndTakesAnotherInItsPlace(t *testing.T) {
	for name, test := range map[string]struct {
		in   Response
		want error
	}{
		"without a status":       {Response{}, ErrStatus},
		"with an interim status": {Response{Status: 100}, ErrStatus},
		"with too high a status": {Response{Status: 1000}, ErrStatus},
		"that is compressed":     {Response{Status: 200, Header: http.Header{"content-encoding": {"gzip"}}, Body: []byte("x")}, ErrEncoded},
		"with the boundary":      {Response{Status: 200, Body: []byte("x--01cf4e5a")}, ErrBoundaryInPart},
		"with it in a header":    {Response{Status: 200, Header: http.Header{"A": {"--01cf4e5a"}}}, ErrBoundaryInPart},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w := NewWriter(&out, "01cf4e5a")
			require.ErrorIs(t, w.Add(&test.in), test.want)
			require.Zero(t, out.Len())
			require.NoError(t, w.Add(&Response{Status: 500}))
			require.NoError(t, w.Close())
			require.Regexp(t, regexp.MustCompile(`^--01cf4e5a\r\n[^\r]+\r\n\r\nHTTP/1.1 500 Internal Server Error\r\n\r\n\r\n--01cf4e5a--\r\n$`), out.String())
		})
	}
}

func TestWriterIsFinishedOnce(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out, "b")
	require.NoError(t, w.Close())
	require.NoError(t, w.Close())
	require.ErrorIs(t, w.Add(&Response{Status: 200}), ErrClosed)
	require.Equal(t, "--b--\r\n", out.String())
}

func TestWriterRefusesABoundaryItCannotQuote(t *testing.T) {
	for _, boundary := range []string{"", "a\r\nb", `a"b`, `a\b`, strings.Repeat("x", 201)} {
		w := NewWriter(io.Discard, boundary)
		require.ErrorIs(t, w.Add(&Response{Status: 200}), ErrBadBoundary)
		require.ErrorIs(t, w.Close(), ErrBadBoundary)
	}
}

// faultyWriter takes some bytes and fails then.
type faultyWriter struct {
	left int
	err  error
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		return w.left, w.err
	}
	w.left -= len(p)
	return len(p), nil
}

func TestWriterReportsErrorsOfItsDestination(t *testing.T) {
	cause := errors.New("connection reset")
	w := NewWriter(&faultyWriter{err: cause}, "b")
	require.ErrorIs(t, w.Add(&Response{Status: 200}), cause)
	require.ErrorIs(t, w.Add(&Response{Status: 200}), cause)
	require.ErrorIs(t, w.Close(), cause)

	require.ErrorIs(t, NewWriter(&faultyWriter{err: cause}, "b").Close(), cause)
}
