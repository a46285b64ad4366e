package batch

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// lines joins lines with CRLF; the last one has none unless an empty one follows.
func lines(l ...string) string { return strings.Join(l, "\r\n") }

// readAll reads a batch to its end. Parts that were not understood are nil, with
// the reason in the second result.
func readAll(t *testing.T, r *Reader) (requests []*Request, reasons []string, err error) {
	t.Helper()
	for {
		request, err := r.Next()
		var bad *PartError
		switch {
		case errors.As(err, &bad):
			require.Equal(t, len(requests)+1, bad.Part)
			requests, reasons = append(requests, nil), append(reasons, bad.Reason)
		case err != nil:
			_, again := r.Next()
			require.Equal(t, err, again, "a final error has to stay")
			return requests, reasons, err
		default:
			requests, reasons = append(requests, request), append(reasons, "")
		}
	}
}

func get(target string, more ...string) *Request {
	header := http.Header{"Host": {"lyncweb.contoso.com"}, "Accept": {"application/json"}}
	for i := 0; i < len(more); i += 2 {
		header[more[i]] = []string{more[i+1]}
	}
	return &Request{Method: "GET", Target: target, Header: header}
}

const (
	contactsPath = "/ucwa/oauth/v1/applications/103/people/contacts"
	mePath       = "/ucwa/oauth/v1/applications/103/me"
)

// sampleLibraryPart is what Batch.js of the sample library makes of a request.
func sampleLibraryPart(request, data string) string {
	part := lines("", "--77f2569d", "Content-Type: application/http; msgtype=request", "", request,
		"Host: lyncweb.contoso.com", "Accept: application/json")
	if data != "" {
		part += "\r\nData: " + data
	}
	return part + "\r\n"
}

func TestReaderUnderstandsTheBatchesOfKnownClients(t *testing.T) {
	two := []*Request{get(contactsPath), get(mePath)}
	documented := lines(
		"--77f2569d",
		"Content-Type: application/http; msgtype=request",
		"",
		"GET "+contactsPath+" HTTP/1.1",
		"Host: lyncweb.contoso.com",
		"Accept: application/json",
		"",
		"",
		"--77f2569d",
		"Content-Type: application/http; msgtype=request",
		"",
		"GET "+mePath+" HTTP/1.1",
		"Host: lyncweb.contoso.com",
		"Accept: application/json",
		"",
		"",
		"--77f2569d--",
		"")
	note := get("/ucwa/oauth/v1/applications/103/me/note", "Content-Type", "application/json")
	note.Method, note.Body = "POST", []byte(`{"message":"Grüße: a, b"}`)

	for name, test := range map[string]struct {
		in   string
		want []*Request
	}{
		"as documented":                          {documented, two},
		"with LF alone":                          {strings.ReplaceAll(documented, "\r\n", "\n"), two},
		"with a byte order mark in front":        {"\ufeff" + documented, two},
		"with the last delimiter left open":      {strings.TrimSuffix(documented, "--\r\n") + "\r\n", two},
		"that end with an open delimiter":        {strings.TrimSuffix(documented, "--\r\n"), two},
		"without the last delimiter":             {strings.TrimSuffix(documented, "--77f2569d--\r\n"), two},
		"cut off after the last header":          {strings.TrimSuffix(documented, "\r\n\r\n\r\n--77f2569d--\r\n"), two},
		"with a preamble and an epilogue":        {"This is a batch.\r\n --77f2569d\r\nx--77f2569d\r\n\r\n" + documented + "--77f2569d\r\n\r\nGET / HTTP/1.1\r\n", two},
		"with a preamble of one endless line":    {strings.Repeat("-", 10000) + "\r\n" + documented, two},
		"with white space after the delimiters":  {strings.ReplaceAll(strings.ReplaceAll(documented, "77f2569d\r\n", "77f2569d \t\r\n"), "77f2569d--", "77f2569d--  "), two},
		"with every delimiter twice":             {strings.ReplaceAll(documented, "--77f2569d\r\n", "--77f2569d\r\n--77f2569d\r\n"), two},
		"with empty parts":                       {strings.ReplaceAll(documented, "--77f2569d\r\n", "--77f2569d\r\n\r\n\r\n--77f2569d\r\n"), two},
		"with headers that end at the delimiter": {strings.ReplaceAll(documented, "\r\n\r\n\r\n--", "\r\n\r\n--"), two},
		"with one line end after the headers":    {strings.ReplaceAll(documented, "\r\n\r\n\r\n--", "\r\n--"), two},
		"with many line ends after the headers":  {strings.ReplaceAll(documented, "\r\n\r\n\r\n--", "\r\n\r\n\r\n\r\n\r\n--"), two},
		"from the sample library": {
			sampleLibraryPart("GET "+contactsPath+" HTTP/1.1", "") + "\r\n" +
				sampleLibraryPart("POST /ucwa/oauth/v1/applications/103/me/note HTTP/1.1", `{"message":"Grüße: a, b"}`) + "\r\n\r\n--77f2569d--\r\n",
			[]*Request{two[0], note},
		},
		"from the sample library with parts that only touch": {
			sampleLibraryPart("POST /ucwa/oauth/v1/applications/103/me/note HTTP/1.1", `{"message":"Grüße: a, b"}`) +
				sampleLibraryPart("GET "+mePath+" HTTP/1.1", "") + "--77f2569d--",
			[]*Request{note, two[1]},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for source, in := range map[string]io.Reader{
				"at once":     strings.NewReader(test.in),
				"by bytes":    iotest.OneByteReader(strings.NewReader(test.in)),
				"eof at once": iotest.DataErrReader(strings.NewReader(test.in)),
			} {
				got, _, err := readAll(t, NewReader(in, "77f2569d", Limits{}))
				require.Equal(t, io.EOF, err, source)
				require.Empty(t, cmp.Diff(test.want, got), source)
			}
		})
	}
}

// onePart puts the lines of a part into a batch, followed by a second part.
func onePart(l ...string) string {
	return "--b\r\n" + lines(l...) + "\r\n--b\r\n\r\nGET /next HTTP/1.1\r\n\r\n--b--\r\n"
}

func TestReaderToleratesCarelessParts(t *testing.T) {
	const typ = "Content-Type: application/http; msgtype=request"
	const line = "GET /x HTTP/1.1"
	want := func(change func(*Request)) *Request {
		r := &Request{Method: "GET", Target: "/x", Header: http.Header{}}
		if change != nil {
			change(r)
		}
		return r
	}
	plain := want(nil)
	input := want(func(r *Request) { r.Method, r.Body = "POST", []byte(`{"a":1}`) })
	for name, test := range map[string]struct {
		part []string
		want *Request
	}{
		"without MIME headers":                      {[]string{"", line}, plain},
		"without MIME headers and their empty line": {[]string{line}, plain},
		"without an empty line after MIME headers":  {[]string{typ, line}, plain},
		"with many empty lines before the request":  {[]string{typ, "", "", "", line, "", ""}, plain},
		"with MIME headers after an empty line":     {[]string{"", typ, "", line, "", ""}, plain},
		"with another letter case":                  {[]string{"content-TYPE: Application/HTTP;MsgType=Request", "", line}, plain},
		"with a quoted message type":                {[]string{`Content-Type: application/http; version="1.1"; msgtype="request"`, "", line}, plain},
		"without a message type":                    {[]string{"Content-Type: application/http", "", line}, plain},
		"with an unreadable parameter":              {[]string{"Content-Type: application/http; msgtype = request", "", line}, plain},
		"with an empty content type":                {[]string{"Content-Type:", "", line}, plain},
		"with a binary transfer encoding":           {[]string{typ, "Content-Transfer-Encoding: Binary", "", line}, plain},
		"with an 8bit transfer encoding":            {[]string{typ, "content-transfer-encoding:8bit", "", line}, plain},
		"with a 7bit transfer encoding":             {[]string{typ, "Content-Transfer-Encoding: 7bit", "", line}, plain},
		"with other MIME headers":                   {[]string{typ, "Content-ID: <1>", "Content-Length: 3", "", line}, plain},
		"with spaces in the request line":           {[]string{typ, "", "GET   /x \t HTTP/1.1  "}, plain},
		"without a version":                         {[]string{typ, "", "GET /x"}, plain},
		"with an old version":                       {[]string{typ, "", "GET /x http/1.0"}, plain},
		"with a byte order mark before the request": {[]string{typ, "", "\ufeff" + line}, plain},
		"with a byte order mark before everything":  {[]string{"\ufeff" + typ, "", line}, plain},
		"with an absolute target": {
			[]string{typ, "", "GET https://lyncweb.contoso.com/x?a=b HTTP/1.1"},
			want(func(r *Request) { r.Target = "https://lyncweb.contoso.com/x?a=b" }),
		},
		"with an unescaped search": {
			[]string{typ, "", "GET /search?query=jörg  b@c HTTP/1.1"},
			want(func(r *Request) { r.Target = "/search?query=jörg%20b@c" }),
		},
		"with a method of its own": {
			[]string{typ, "", "get /x HTTP/1.1"},
			want(func(r *Request) { r.Method = "get" }),
		},
		"with a body":                      {[]string{typ, "", "POST /x HTTP/1.1", "", `{"a":1}`}, input},
		"with a byte order mark in a body": {[]string{typ, "", "POST /x HTTP/1.1", "", "\ufeff" + `{"a":1}`}, input},
		"with too small a length":          {[]string{typ, "Content-Length: 1", "", "POST /x HTTP/1.1", "Content-Length: 2", "", `{"a":1}`}, input},
		"with too large a length":          {[]string{typ, "Content-Length: 9999", "", "POST /x HTTP/1.1", "Content-Length: 9999", "", `{"a":1}`}, input},
		"with a length that is no number":  {[]string{typ, "Content-Length: x", "", "POST /x HTTP/1.1", "Content-Length: -1", "", `{"a":1}`}, input},
		"with the boundary within a body": {
			[]string{typ, "", "POST /x HTTP/1.1", "", "x--b", " --b", "--bb", "--b-", "--b--x", "---b"},
			want(func(r *Request) {
				r.Method, r.Body = "POST", []byte("x--b\r\n --b\r\n--bb\r\n--b-\r\n--b--x\r\n---b")
			}),
		},
		"with the boundary where a piece of a long line begins": {
			[]string{typ, "", "POST /x HTTP/1.1", "", strings.Repeat("x", 4096) + "--b"},
			want(func(r *Request) { r.Method, r.Body = "POST", []byte(strings.Repeat("x", 4096)+"--b") }),
		},
		"with line ends within a body": {
			[]string{typ, "", "POST /x HTTP/1.1", "", "", "a", "", "b", ""},
			want(func(r *Request) { r.Method, r.Body = "POST", []byte("\r\na\r\n\r\nb\r\n") }),
		},
		"with data and a type": {
			[]string{typ, "", "POST /x HTTP/1.1", "Content-Type: application/vnd.microsoft.com.ucwa+json", `data: {"a":1}`},
			want(func(r *Request) {
				r.Method, r.Body = "POST", []byte(`{"a":1}`)
				r.Header.Set("Content-Type", "application/vnd.microsoft.com.ucwa+json")
			}),
		},
		"with data and a body": {[]string{typ, "", "POST /x HTTP/1.1", "Data: {}", "", `{"a":1}`}, input},
		"with data and empty lines": {[]string{typ, "", "POST /x HTTP/1.1", "Data: {}", "", "", ""}, want(func(r *Request) {
			r.Method, r.Body = "POST", []byte("{}")
			r.Header.Set("Content-Type", "application/json")
		})},
		"with data that is not JSON": {[]string{typ, "", "POST /x HTTP/1.1", "Data: a=b"}, want(func(r *Request) { r.Method, r.Body = "POST", []byte("a=b") })},
		"with empty data":            {[]string{typ, "", line, "Data: "}, plain},
		"with headers it has no say in": {
			[]string{
				typ, "", line, "Authorization: Bearer x", "Cookie: a=b", "Connection: close", "Transfer-Encoding: chunked",
				"Accept-Encoding: gzip", "Expect: 100-continue", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-Host: x", "Forwarded: for=x",
				"X-MS-Origin: https://x", "Origin: https://x", "x-real-ip: 10.0.0.1", "TE: trailers", "If-Match: \"1\"",
			},
			want(func(r *Request) { r.Header.Set("If-Match", `"1"`) }),
		},
		"with a header twice": {
			[]string{typ, "", line, "accept: a", "Accept:\tb\t"},
			want(func(r *Request) { r.Header["Accept"] = []string{"a", "b"} }),
		},
		"with an empty header": {
			[]string{typ, "", line, "Content-Type:"},
			want(func(r *Request) { r.Header["Content-Type"] = []string{""} }),
		},
	} {
		t.Run("a part "+name, func(t *testing.T) {
			got, reasons, err := readAll(t, NewReader(strings.NewReader(onePart(test.part...)), "b", Limits{}))
			require.Equal(t, io.EOF, err)
			require.Equal(t, []string{"", ""}, reasons)
			require.Empty(t, cmp.Diff(test.want, got[0]))
			require.Equal(t, "/next", got[1].Target)
		})
	}
}

func TestReaderSkipsAPartItCannotUnderstand(t *testing.T) {
	const typ = "Content-Type: application/http; msgtype=request"
	const line = "GET /x HTTP/1.1"
	for name, test := range map[string]struct {
		part   []string
		reason string
	}{
		"of another content type":           {[]string{"Content-Type: application/json", "", "{}"}, "no request line"},
		"of another content type with HTTP": {[]string{"Content-Type: text/plain", "", line}, "the content type is not application/http"},
		"with an unreadable content type":   {[]string{"Content-Type: /", "", line}, "the content type is not application/http"},
		"that is a response":                {[]string{"Content-Type: application/http; msgtype=response", "", "HTTP/1.1 200 OK"}, "no request line"},
		"that is called a response":         {[]string{"Content-Type: application/http; msgtype=response", "", line}, "the part is not a request"},
		"in base64":                         {[]string{typ, "Content-Transfer-Encoding: base64", "", line}, "a transfer encoding that is not supported"},
		"in quoted-printable":               {[]string{typ, "Content-Transfer-Encoding: Quoted-Printable", "", line}, "a transfer encoding that is not supported"},
		"with MIME headers alone":           {[]string{typ, "", ""}, "no request line"},
		"with a byte order mark alone":      {[]string{"\ufeff"}, "no request line"},
		"without a target":                  {[]string{typ, "", "GET"}, "a request line without a target"},
		"without a target but a version":    {[]string{typ, "", "GET HTTP/1.1"}, "a request line without a target"},
		"with HTTP/2":                       {[]string{typ, "", "GET /x HTTP/2"}, "not HTTP/1"},
		"with a method that is no token":    {[]string{typ, "", "G(T /x HTTP/1.1"}, "no request line"},
		"with a control character":          {[]string{typ, "", "GET /x\x00 HTTP/1.1"}, "a control character in a header line"},
		"with a lone CR":                    {[]string{typ, "", line, "A: b\rc: d"}, "a control character in a header line"},
		"with a folded header":              {[]string{typ, "", line, "A: b", "\tc"}, "a folded header line"},
		"with a folded MIME header":         {[]string{"Content-Type: application/http;", " msgtype=request", "", line}, "a folded header line"},
		"with a header without a colon":     {[]string{typ, "", line, "Accept"}, "a line that is not a header"},
		"with a space before the colon":     {[]string{typ, "", line, "Accept : a"}, "a line that is not a header"},
		"with a header without a name":      {[]string{typ, "", line, ": a"}, "a line that is not a header"},
		"with long header lines":            {[]string{typ, "", line, "A: " + strings.Repeat("x", 500), "B: " + strings.Repeat("x", 500)}, "the header lines are too long"},
		"with a long target":                {[]string{typ, "", "GET /" + strings.Repeat("x", 1000) + " HTTP/1.1"}, "the header lines are too long"},
	} {
		t.Run("a part "+name, func(t *testing.T) {
			got, reasons, err := readAll(t, NewReader(strings.NewReader(onePart(test.part...)), "b", Limits{HeaderBytes: 1000}))
			require.Equal(t, io.EOF, err)
			require.Equal(t, []string{test.reason, ""}, reasons)
			require.Equal(t, "/next", got[1].Target)
		})
	}
}

func TestReaderDoesNotCountDataAsAHeader(t *testing.T) {
	data := `"` + strings.Repeat("x", 2000) + `"`
	got, _, err := readAll(t, NewReader(strings.NewReader(onePart("POST /x HTTP/1.1", "Data: "+data)), "b", Limits{HeaderBytes: 1000}))
	require.Equal(t, io.EOF, err)
	require.Equal(t, data, string(got[0].Body))
}

func TestReaderRefusesWhatIsNoBatch(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":                                "",
		"no delimiter":                           "GET /x HTTP/1.1\r\n\r\n",
		"another boundary":                       "--c\r\n\r\nGET /x HTTP/1.1\r\n\r\n--c--\r\n",
		"a delimiter that does not begin a line": "x--b\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
		"the closing delimiter alone":            "--b--\r\n",
		"an open delimiter alone":                "--b",
		"an open delimiter and its line end":     "--b\r\n",
		"empty parts":                            "--b\r\n--b\r\n\r\n--b--\r\n",
		"a part after the closing delimiter":     "--b--\r\n--b\r\n\r\nGET /x HTTP/1.1\r\n\r\n--b--\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := readAll(t, NewReader(strings.NewReader(in), "b", Limits{}))
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.Empty(t, got)
		})
	}
	t.Run("an unusable boundary", func(t *testing.T) {
		for _, boundary := range []string{"", "a\nb", strings.Repeat("x", 201)} {
			_, _, err := readAll(t, NewReader(strings.NewReader("--\r\n\r\nGET /x HTTP/1.1\r\n\r\n----"), boundary, Limits{}))
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax)
		}
	})
}

func TestReaderKeepsToItsLimits(t *testing.T) {
	in := onePart("POST /x HTTP/1.1", "", strings.Repeat("x", 100))

	got, _, err := readAll(t, NewReader(strings.NewReader(in), "b", Limits{Parts: 2, PartBytes: 122}))
	require.Equal(t, io.EOF, err)
	require.Len(t, got, 2)

	got, _, err = readAll(t, NewReader(strings.NewReader(in), "b", Limits{Parts: 1}))
	require.ErrorIs(t, err, ErrTooManyParts)
	require.Len(t, got, 1)

	got, _, err = readAll(t, NewReader(strings.NewReader(in), "b", Limits{PartBytes: 121}))
	require.ErrorIs(t, err, ErrPartTooLarge)
	require.Empty(t, got)
}

func TestReaderCountsPartsItDoesNotUnderstand(t *testing.T) {
	got, _, err := readAll(t, NewReader(strings.NewReader(strings.Repeat("--b\r\nx\r\n", 4)), "b", Limits{Parts: 3}))
	require.ErrorIs(t, err, ErrTooManyParts)
	require.Len(t, got, 3)
}

func TestReaderReportsErrorsOfItsSource(t *testing.T) {
	for name, in := range map[string]string{"before the first delimiter": "\r\n", "within a part": onePart("GET /x HTTP/1.1")[:30]} {
		t.Run(name, func(t *testing.T) {
			for _, cause := range []error{io.ErrUnexpectedEOF, &http.MaxBytesError{Limit: 1}, fmt.Errorf("cut: %w", io.EOF)} {
				source := io.MultiReader(strings.NewReader(in), iotest.ErrReader(cause))
				_, _, err := readAll(t, NewReader(source, "b", Limits{}))
				require.ErrorIs(t, err, cause)
				require.NotEqual(t, io.EOF, err)
			}
		})
	}
}

func TestRequestsStayWhenTheNextOneIsRead(t *testing.T) {
	in := "--b\r\n\r\nPOST /1 HTTP/1.1\r\nA: 1\r\n\r\none\r\n--b\r\n\r\nPOST /2 HTTP/1.1\r\nA: 2\r\n\r\ntwo\r\n--b--"
	got, _, err := readAll(t, NewReader(strings.NewReader(in), "b", Limits{}))
	require.Equal(t, io.EOF, err)
	require.Equal(t, []*Request{
		{Method: "POST", Target: "/1", Header: http.Header{"A": {"1"}}, Body: []byte("one")},
		{Method: "POST", Target: "/2", Header: http.Header{"A": {"2"}}, Body: []byte("two")},
	}, got)
}

func TestErrorsRepeatNothingOfWhatWasSent(t *testing.T) {
	r := NewReader(strings.NewReader(onePart("GET /x HTTP/1.1", "Authorization Bearer secret")), "b", Limits{})
	_, err := r.Next()
	require.EqualError(t, err, "malformed part 1 of a batch: a line that is not a header")
	_, err = NewReader(strings.NewReader("secret"), "b", Limits{}).Next()
	require.EqualError(t, err, "malformed batch: the boundary does not occur")
}
