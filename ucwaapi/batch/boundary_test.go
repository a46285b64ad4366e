package batch

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBoundaryIsReadFromTheContentType(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"as in the documentation":               {"multipart/batching;boundary=77f2569d-c005-442b-b856-782305305e5f", "77f2569d-c005-442b-b856-782305305e5f"},
		"quoted, as the server's answers":       {`multipart/batching; boundary="01cf4e5a"`, "01cf4e5a"},
		"with spaces round everything":          {"  multipart/batching ; boundary = 77f2569d ; x=y", "77f2569d"},
		"spaces before the quote":               {"multipart/batching; boundary= \t\"77f2569d\" ;x=y", "77f2569d"},
		"in another letter case":                {"Multipart/Batching; BOUNDARY=AbC", "AbC"},
		"after other parameters":                {`multipart/batching; charset=utf-8; start="a;boundary=no"; msgtype; boundary=yes`, "yes"},
		"with a semicolon within quotes":        {`multipart/batching; boundary="a;b"`, "a;b"},
		"with escapes within quotes":            {`multipart/batching; boundary="a\"\\b"`, `a"\b`},
		"without the closing quote":             {`multipart/batching; boundary="abc`, "abc"},
		"unquoted with characters of a URL":     {"multipart/batching; boundary=a/b:c=d?e", "a/b:c=d?e"},
		"quoted with a space at the end":        {`multipart/batching; boundary="a b "`, "a b"},
		"the first of two":                      {"multipart/batching; boundary=a; boundary=b", "a"},
		"longer than the standard allows":       {"multipart/batching; boundary=" + strings.Repeat("x", 200), strings.Repeat("x", 200)},
		"with letters that are not ASCII":       {"multipart/batching; boundary=grün", "grün"},
		"with single quotes, which are allowed": {"multipart/batching; boundary='a'", "'a'"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Boundary(test.in)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

func TestBoundaryIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		in   string
		want error
	}{
		"without a content type":           {"", ErrNotBatch},
		"in JSON":                          {"application/json; boundary=a", ErrNotBatch},
		"in multipart/mixed":               {"multipart/mixed; boundary=a", ErrNotBatch},
		"in a type that only begins alike": {"multipart/batchings; boundary=a", ErrNotBatch},
		"without parameters":               {"multipart/batching", ErrNoBoundary},
		"with other parameters only":       {"multipart/batching; xboundary=a; ;boundary", ErrNoBoundary},
		"when empty":                       {"multipart/batching; boundary=", ErrNoBoundary},
		"when empty within quotes":         {`multipart/batching; boundary=" "`, ErrNoBoundary},
		"when too long":                    {"multipart/batching; boundary=" + strings.Repeat("x", 201), ErrBadBoundary},
		"with a line end":                  {"multipart/batching; boundary=\"a\r\nb\"", ErrBadBoundary},
		"with another control character":   {"multipart/batching; boundary=a\x00b", ErrBadBoundary},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Boundary(test.in)
			require.ErrorIs(t, err, test.want)
		})
	}
}

func TestBoundariesDrawnDifferAndCanBeReadBack(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		boundary := NewBoundary()
		require.False(t, seen[boundary])
		seen[boundary] = true
		require.NotContains(t, boundary, "=")
		require.LessOrEqual(t, len(boundary), 70)
		got, err := Boundary(NewWriter(nil, boundary).ContentType())
		require.NoError(t, err)
		require.Equal(t, boundary, got)
	}
}

func FuzzBoundary(f *testing.F) {
	for _, seed := range []string{
		"multipart/batching;boundary=77f2569d", `multipart/batching; boundary="a\"b"; x=y`, "multipart/batching; ; =;boundary",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, contentType string) {
		boundary, err := Boundary(contentType)
		if err != nil {
			require.Empty(t, boundary)
			return
		}
		require.True(t, usableBoundary(boundary))
	})
}
