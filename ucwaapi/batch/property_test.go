package batch

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// client writes batches in one of the manners clients have.
type client struct {
	boundary, lineEnd              string
	before, after, spaces          string
	data, length, version, partTyp bool
	closing                        string
}

func drawClient(t *rapid.T) client {
	return client{
		boundary: rapid.StringMatching(`[0-9A-Za-z'()+_,./:=?-]{1,70}`).Draw(t, "boundary"),
		lineEnd:  rapid.SampledFrom([]string{"\r\n", "\n"}).Draw(t, "line end"),
		before:   rapid.SampledFrom([]string{"", "\r\n", "\n\n", "preamble\r\n", "\ufeff"}).Draw(t, "before"),
		after:    rapid.SampledFrom([]string{"", "\r\n", "\r\n--", "\nepilogue"}).Draw(t, "after"),
		spaces:   rapid.SampledFrom([]string{"", " ", "\t "}).Draw(t, "spaces"),
		data:     rapid.Bool().Draw(t, "data header"),
		length:   rapid.Bool().Draw(t, "length"),
		version:  rapid.Bool().Draw(t, "version"),
		partTyp:  rapid.Bool().Draw(t, "part type"),
		closing:  rapid.SampledFrom([]string{"--", "", "none"}).Draw(t, "closing"),
	}
}

func (c client) write(requests []*Request) string {
	var b strings.Builder
	line := func(parts ...string) { b.WriteString(strings.Join(parts, "") + c.lineEnd) }
	b.WriteString(c.before)
	for _, r := range requests {
		line("--", c.boundary, c.spaces)
		if c.partTyp {
			line("Content-Type: application/http; msgtype=request")
		}
		if c.length {
			line("Content-Length: 17")
		}
		line()
		if c.version {
			line(r.Method, " ", c.spaces, r.Target, " HTTP/1.1", c.spaces)
		} else {
			line(r.Method, " ", r.Target)
		}
		for name, values := range r.Header {
			for _, value := range values {
				line(name, ":", c.spaces, value, c.spaces)
			}
		}
		if c.length {
			line("Content-Length: ", strconv.Itoa(len(r.Body)))
		}
		if c.data && r.Body != nil {
			line("Data: ", string(r.Body))
		}
		line()
		if !c.data {
			b.Write(r.Body)
		}
		b.WriteString(c.lineEnd)
	}
	if c.closing != "none" {
		b.WriteString("--" + c.boundary + c.closing)
		if c.closing == "--" {
			b.WriteString(c.spaces + c.after)
		}
	}
	return b.String()
}

func drawRequest(t *rapid.T) *Request {
	r := &Request{
		Method: rapid.SampledFrom([]string{"GET", "POST", "PUT", "DELETE"}).Draw(t, "method"),
		Target: rapid.StringMatching(`(https://[a-z.]{1,20})?/[!-~]{0,30}`).Draw(t, "target"),
		Header: http.Header{"Host": {"lyncweb.contoso.com"}},
	}
	for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"Accept", "If-Match", "X-Requested-With"}), rapid.ID).Draw(t, "names") {
		r.Header[name] = rapid.SliceOfN(rapid.StringMatching(`[!-~]([ -~ä]{0,20}[!-~])?`), 1, 2).Draw(t, "values")
	}
	if rapid.Bool().Draw(t, "has body") {
		r.Header["Content-Type"] = []string{"application/json"}
		r.Body = []byte(rapid.StringMatching(`\{"[ -~äß€]{0,300}"\}`).Draw(t, "body"))
	}
	return r
}

func TestReaderReadsWhatClientsWrite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawClient(t)
		want := rapid.SliceOfN(rapid.Custom(drawRequest), 1, 6).Draw(t, "requests")
		in := c.write(want)
		var got []*Request
		r := NewReader(strings.NewReader(in), c.boundary, Limits{Parts: len(want)})
		for {
			request, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, in)
			got = append(got, request)
		}
		require.Empty(t, cmp.Diff(want, got), in)
	})
}

func TestWriterWritesWhatTheStandardLibraryAndTheSampleLibraryRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var out bytes.Buffer
		w := NewWriter(&out, NewBoundary())
		responses := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *Response {
			return &Response{
				Status: rapid.IntRange(200, 599).Draw(t, "status"),
				Header: http.Header{
					"Content-Type": {"application/json; charset=utf-8"},
					rapid.StringMatching(`[A-Za-z-]{1,20}`).Filter(func(s string) bool {
						return !strings.HasPrefix(strings.ToLower(s), "content-") && !aboutConnection(s)
					}).Draw(t, "name"): {rapid.String().Draw(t, "value")},
				},
				Body: []byte(rapid.StringMatching(`\{["a-zHTP/1. \r\n-]{0,100}\}`).Draw(t, "body")),
			}
		}), 1, 5).Draw(t, "responses")
		for _, r := range responses {
			require.NoError(t, w.Add(r))
		}
		require.NoError(t, w.Close())

		samples := sampleLibraryParse(out.String(), w.boundary)
		require.Len(t, samples, len(responses))
		parts := multipart.NewReader(&out, w.boundary)
		for i, want := range responses {
			part, err := parts.NextRawPart()
			require.NoError(t, err)
			got, err := http.ReadResponse(bufio.NewReader(part), nil)
			require.NoError(t, err)
			require.Equal(t, want.Status, got.StatusCode)
			require.LessOrEqual(t, len(got.Header), len(want.Header))
			body, err := io.ReadAll(got.Body)
			require.NoError(t, err)
			require.NoError(t, got.Body.Close())
			require.NotContains(t, string(body), "\n")
			require.NotContains(t, string(body), "\r")
			require.Equal(t, strconv.Itoa(want.Status), samples[i].status)
			require.Equal(t, string(body), samples[i].text)
		}
		_, err := parts.NextRawPart()
		require.Equal(t, io.EOF, err)
	})
}

func FuzzReader(f *testing.F) {
	f.Add("b", onePart("Content-Type: application/http; msgtype=request", "", "GET /x HTTP/1.1", "Accept: application/json", "", ""))
	f.Add("77f2569d", sampleLibraryPart("POST /x HTTP/1.1", `{"a":1}`)+"\r\n\r\n--77f2569d--\r\n")
	f.Add("b", "\ufeffpreamble\n--b \n\nGET https://x/y?a b http/1.0\nData: 1\n--b\n--b\n\n\ufeffPOST /\n\n\ufeff{}\n--b--x\n--b--\nepilogue")
	f.Add("b", "--b\r\n\r\nGET / HTTP/1.1\r\n folded\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nR0VU\r\n--b")
	f.Add("-", "-----\r\n---\r\nx y\r\n---")
	f.Fuzz(func(t *testing.T, boundary, in string) {
		limits := Limits{Parts: 5, PartBytes: 2000, HeaderBytes: 200}
		r := NewReader(strings.NewReader(in), boundary, limits)
		for parts := 0; ; parts++ {
			require.LessOrEqual(t, parts, limits.Parts)
			request, err := r.Next()
			var bad *PartError
			if errors.As(err, &bad) {
				require.Equal(t, parts+1, bad.Part)
				continue
			}
			if err != nil {
				require.Nil(t, request)
				return
			}
			require.True(t, isToken(request.Method))
			require.NotEmpty(t, request.Target)
			require.False(t, hasControl(request.Target))
			require.NotContains(t, request.Header, dataHeader)
			require.NotContains(t, request.Header, "Authorization")
			require.LessOrEqual(t, len(request.Body), limits.PartBytes)
			for name, values := range request.Header {
				require.Equal(t, http.CanonicalHeaderKey(name), name)
				require.NotContains(t, strings.Join(values, ""), "\n")
			}
		}
	})
}

func BenchmarkReader(b *testing.B) {
	in := strings.Repeat(sampleLibraryPart("GET /ucwa/oauth/v1/applications/103/people/sarad@contoso.com/presence HTTP/1.1", "")+"\r\n", 100) + "\r\n--77f2569d--\r\n"
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		r := NewReader(strings.NewReader(in), "77f2569d", Limits{})
		parts := 0
		for ; ; parts++ {
			if _, err := r.Next(); err != nil {
				require.Equal(b, io.EOF, err)
				break
			}
		}
		require.Equal(b, 100, parts)
	}
}

func BenchmarkWriter(b *testing.B) {
	response := &Response{
		Status: http.StatusOK,
		Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}, "Cache-Control": {"no-cache"}, "ETag": {`"1"`}},
		Body:   []byte(`{"availability":"Online","_links":{"self":{"href":"/ucwa/oauth/v1/applications/103/people/sarad@contoso.com/presence"}},"rel":"contactPresence"}`),
	}
	b.ReportAllocs()
	for b.Loop() {
		w := NewWriter(io.Discard, "01cf4e5a-4b88-48cd-848b-aa56682ac369")
		for range 100 {
			require.NoError(b, w.Add(response))
		}
		require.NoError(b, w.Close())
	}
}
