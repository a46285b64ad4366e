package msgraph

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/graphsim"
)

const (
	jpegStart = "\xff\xd8\xff\xe0\x00\x10JFIF"
	pngStart  = "\x89PNG\x0d\x0a\x1a\x0a"
)

// picture answers with bytes of a declared type; none if declared is empty.
func picture(declared, etag, content string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		if declared != "" {
			w.Header().Set("Content-Type", declared)
		}
		if etag != "" {
			w.Header().Set("ETag", etag)
		}
		_, _ = w.Write([]byte(content))
	}
}

func TestAPhotoIsReadAsItComes(t *testing.T) {
	for name, tc := range map[string]struct {
		declared, etag, content string
		want                    graphsrc.Photo
	}{
		"a JPEG":                         {"image/jpeg", `"AB12"`, jpegStart, graphsrc.Photo{Type: "image/jpeg", ETag: "AB12"}},
		"a weak tag":                     {"image/jpeg", ` W/"AB12" `, jpegStart, graphsrc.Photo{Type: "image/jpeg", ETag: "AB12"}},
		"no tag":                         {"image/jpeg", ``, jpegStart, graphsrc.Photo{Type: "image/jpeg"}},
		"what is no tag":                 {"image/jpeg", `AB12`, jpegStart, graphsrc.Photo{Type: "image/jpeg"}},
		"an upper case type with a name": {`Image/PNG; name="x"`, ``, pngStart, graphsrc.Photo{Type: "image/png"}},
		"Graph's own spelling":           {"image/jpg", ``, jpegStart, graphsrc.Photo{Type: "image/jpg"}},
		"bytes that are a picture":       {"application/octet-stream", ``, pngStart, graphsrc.Photo{Type: "image/png"}},
		"a picture without a type":       {"", ``, jpegStart, graphsrc.Photo{Type: "image/jpeg"}},
		"the largest":                    {"image/jpeg", ``, strings.Repeat("x", maxPhoto), graphsrc.Photo{Type: "image/jpeg"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, f, m := serve(t, picture(tc.declared, tc.etag, tc.content))
			got, err := c.Photo(t.Context(), idAna, 96, "")
			require.NoError(t, err)
			require.Equal(t, tc.content, string(got.Content))
			got.Content = nil
			require.Equal(t, tc.want, got)
			require.EqualValues(t, 1, m.sends.Load())
			req := f.sent()[0]
			require.Equal(t, "GET /v1.0/users/"+idAna+"/photos/96x96/$value", req.method+" "+req.uri)
			require.NotContains(t, req.header, "If-None-Match")
		})
	}
}

func TestWhatIsNoPhotoIsMalformed(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"too large":                  picture("image/jpeg", "", strings.Repeat("x", maxPhoto+1)),
		"nothing":                    picture("image/jpeg", "", ""),
		"a page":                     picture("text/html", "", "<html>sign in</html>"),
		"JSON":                       always(200, `{}`),
		"bytes that are a page":      picture("application/octet-stream", "", "<html>sign in</html>"),
		"a drawing that runs script": picture("image/svg+xml", "", "<svg/>"),
		"a type of no form":          picture("image", "", "text"),
		"no content":                 func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"not modified, unasked":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) },
		"an early end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/jpeg")
			w.Header().Set("Content-Length", "99")
			w.WriteHeader(200)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, m := serve(t, handler)
			got, err := c.Photo(t.Context(), idAna, 648, "")
			requireKind(t, graphsrc.KindMalformed, err)
			require.Zero(t, got)
			require.EqualValues(t, 1, m.sends.Load())
		})
	}
}

func TestErrorsOfPhotosKeepWhatGraphSaid(t *testing.T) {
	for status, want := range map[int]graphsrc.Kind{
		403: graphsrc.KindForbidden, 404: graphsrc.KindNotFound, 429: graphsrc.KindThrottled, 500: graphsrc.KindUnavailable,
	} {
		c, _, m := serve(t, always(status, `{"error":{"code":"C"}}`))
		e := requireKind(t, want, func() error { _, err := c.Photo(t.Context(), idAna, 48, "x"); return err }())
		require.Equal(t, "C", e.Code)
		require.EqualValues(t, 1, m.sends.Load())
	}
}

func TestAPhotoThatIsStillTheSameIsNotSentAgain(t *testing.T) {
	c, f, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `W/"AB,12"`)
		if r.Header.Get("If-None-Match") == `"AB,12"` {
			w.WriteHeader(304)
			return
		}
		w.Header().Set("Content-Type", "image/jpeg")
		_, _ = w.Write([]byte(jpegStart))
	})
	got, err := c.Photo(t.Context(), idAna, 48, "")
	require.NoError(t, err)
	again, err := c.Photo(t.Context(), idAna, 48, got.ETag)
	require.NoError(t, err)
	require.Equal(t, graphsrc.Photo{NotModified: true}, again)
	require.Equal(t, []string{`"AB,12"`}, f.sent()[1].header["If-None-Match"])
	changed, err := c.Photo(t.Context(), idAna, 48, "other")
	require.NoError(t, err)
	require.Equal(t, got, changed)
}

func TestWhatCannotBeAPhotoIsNotAskedFor(t *testing.T) {
	c, _, m := serve(t, picture("image/jpeg", "", jpegStart))
	for _, size := range []int{-48, 0, 47, 49, 100, 1000} {
		_, err := c.Photo(t.Context(), idAna, size, "")
		requireKind(t, graphsrc.KindInvalid, err)
	}
	for _, etag := range []string{`a"b`, "a\r\nX: y", "a b", "é", strings.Repeat("x", maxETag)} {
		_, err := c.Photo(t.Context(), idAna, 48, etag)
		requireKind(t, graphsrc.KindInvalid, err)
	}
	for _, id := range []string{"", "..", "a\x00b"} {
		_, err := c.Photo(t.Context(), id, 48, "")
		requireKind(t, graphsrc.KindInvalid, err)
	}
	require.Zero(t, m.sends.Load())
}

func TestPhotosOfASimulatedTenant(t *testing.T) {
	c, tenant, _ := simulate(t, graphsim.Config{})
	user := tenant.Organizer()
	for _, size := range graphsrc.PhotoSizes {
		got, err := c.Photo(t.Context(), user.ID, size, "")
		require.NoError(t, err)
		require.Equal(t, "image/jpeg", got.Type)
		dimensions, err := jpeg.DecodeConfig(bytes.NewReader(got.Content))
		require.NoError(t, err)
		require.Equal(t, [2]int{size, size}, [2]int{dimensions.Width, dimensions.Height})
		require.Regexp(t, `^[0-9A-F]{16}$`, got.ETag)
		again, err := c.Photo(t.Context(), user.UserPrincipalName, size, got.ETag)
		require.NoError(t, err)
		require.True(t, again.NotModified)
	}
	_, err := c.Photo(t.Context(), tenant.User(4).ID, 48, "")
	require.Equal(t, "ImageNotFound", requireKind(t, graphsrc.KindNotFound, err).Code)
	_, err = c.Photo(t.Context(), tenant.User(3).ID, 648, "")
	requireKind(t, graphsrc.KindNotFound, err)

	poor, tenant, _ := simulate(t, graphsim.Config{Roles: []string{"Presence.Read.All"}})
	_, err = poor.Photo(t.Context(), tenant.Organizer().ID, 48, "")
	requireKind(t, graphsrc.KindForbidden, err)
}

func FuzzETag(f *testing.F) {
	for _, header := range []string{`"a"`, `W/"a"`, `w/"a"`, `""`, `"`, ``, `a`, `"a"b"`, `"a", "b"`, "\"\x7f\"", "\"\n\"", ` "x" `} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		tag := bareETag(header)
		if tag == "" {
			return
		}
		if again := bareETag(fmt.Sprintf(`"%s"`, tag)); again != tag {
			t.Fatalf("%q becomes %q", tag, again)
		}
		if !strings.Contains(header, `"`+tag+`"`) {
			t.Fatalf("%q is not in %q", tag, header)
		}
	})
}

func FuzzPictureType(f *testing.F) {
	f.Add("image/jpeg", []byte(jpegStart))
	f.Add("", []byte(pngStart))
	f.Add("image/svg+xml; charset=utf-8", []byte("<svg/>"))
	f.Add("application/octet-stream", []byte("<html>"))
	f.Fuzz(func(t *testing.T, declared string, content []byte) {
		media := pictureType(declared, content)
		if media != "" && (!strings.HasPrefix(media, "image/") || strings.ContainsAny(media, "\r\n;, ") || strings.Contains(media, "svg")) {
			t.Fatalf("%q", media)
		}
	})
}
