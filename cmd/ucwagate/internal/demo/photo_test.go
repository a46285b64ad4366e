package demo_test

import (
	"bytes"
	"image/jpeg"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
)

// pictured finds somebody with a photo, and somebody without.
func pictured(t *testing.T, d *demo.Demo, c *client, app *node) (with, without string) {
	t.Helper()
	for i := range d.Tenant.Len() {
		address := d.Tenant.User(i).Address()
		if !strings.HasSuffix(address, "@"+d.Domain) {
			continue
		}
		res := c.do(http.MethodGet, app.href+"/photos/"+address, "", "")
		switch {
		case res.status == http.StatusOK && with == "":
			with = address
		case res.status == http.StatusNotFound && without == "":
			without = address
		}
		if with != "" && without != "" {
			return with, without
		}
	}
	require.FailNow(t, "the tenant has no photo, or no one without")
	return "", ""
}

func TestPhotos(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	with, without := pictured(t, d, c, app)
	contact := c.get(app.child(t, "people").href + "/" + with)
	href := contact.link(t, "contactPhoto")
	require.Equal(t, app.href+"/photos/"+with, href)
	edges := map[string]int{}
	for _, size := range []string{"", "?size=HR48X48", "?size=hr64x64", "?size=HR100X300", "?size=HR9999X9999", "?size=HR1X1"} {
		res := c.do(http.MethodGet, href+size, "", "", func(r *http.Request) { r.Header.Set("Accept", "image/jpeg") })
		require.Equal(t, http.StatusOK, res.status, "%s: %s", size, res.body)
		require.Equal(t, "image/jpeg", res.header.Get("Content-Type"))
		require.Contains(t, res.header.Get("Cache-Control"), "private")
		require.NotEmpty(t, res.header.Get("Expires"))
		picture, err := jpeg.Decode(bytes.NewReader(res.body))
		require.NoError(t, err)
		edges[size] = picture.Bounds().Dx()
		again := c.do(http.MethodGet, href+size, "", "", func(r *http.Request) { r.Header.Set("If-None-Match", res.header.Get("ETag")) })
		require.Equal(t, http.StatusNotModified, again.status)
		require.Empty(t, again.body)
	}
	require.Equal(t, map[string]int{"": 48, "?size=HR48X48": 48, "?size=hr64x64": 64, "?size=HR100X300": 96, "?size=HR9999X9999": 648, "?size=HR1X1": 48}, edges)
	for _, size := range []string{"?size=large", "?size=48", "?size=HR48", "?size=HR-1X5"} {
		requireReason(t, c.do(http.MethodGet, href+size, "", ""), http.StatusBadRequest, "BadRequest", "ParameterValidationFailure")
	}
	requireReason(t, c.do(http.MethodGet, app.href+"/photos/"+without, "", ""), http.StatusNotFound, "NotFound", "")
	requireReason(t, c.do(http.MethodGet, app.href+"/photos/nobody@contoso.test", "", ""), http.StatusNotFound, "NotFound", "")
	require.NotEmpty(t, app.child(t, "me").link(t, "photo"), "always there, even if no photo is")
}

func TestPhotosAreSentToWhoHasTheCookie(t *testing.T) {
	d := start(t, func(c *config.Config) { c.Server.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	c := newClient(t, d, asJSON)
	app := c.application(d)
	with, _ := pictured(t, d, c, app)
	secure := func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", "https") }
	for name, change := range map[string]func(*http.Request){"over http": func(*http.Request) {}, "over https": secure} {
		t.Run(name, func(t *testing.T) {
			res := c.do(http.MethodGet, app.href, "", "", change)
			raw := res.header.Get("Set-Cookie")
			require.Contains(t, raw, "HttpOnly")
			require.Contains(t, raw, "path="+app.href+"/photos")
			require.Equal(t, name == "over https", strings.Contains(raw, "; secure; SameSite=None; Partitioned"))
			value, _, _ := strings.Cut(raw, ";")
			anonymous := newClient(t, d, asJSON)
			cookie := func(r *http.Request) { r.Header.Set("Cookie", value) }
			require.Equal(t, http.StatusOK, anonymous.do(http.MethodGet, app.href+"/photos/"+with, "", "", cookie).status)
			require.Equal(t, http.StatusUnauthorized, anonymous.do(http.MethodGet, app.href+"/photos/"+with, "", "").status)
			require.Equal(t, http.StatusUnauthorized, anonymous.do(http.MethodGet, app.href+"/photos/"+with, "", "", func(r *http.Request) {
				r.Header.Set("Cookie", value[:len(value)-3]+"xxx")
			}).status)
			require.Equal(t, http.StatusUnauthorized, anonymous.do(http.MethodGet, app.href+"/me", "", "", cookie).status, "it opens photos only")
			require.Equal(t, http.StatusUnauthorized, anonymous.do(http.MethodGet, app.href+"/me", "", "", func(r *http.Request) {
				r.Header.Set("Authorization", "Bearer cwt="+strings.TrimPrefix(value, "cwt_ucwa="))
			}).status, "and is no token")
			require.Equal(t, http.StatusUnauthorized, anonymous.do(http.MethodGet, app.href+"/photos/"+with, "", "", func(r *http.Request) {
				r.Header.Set("Cookie", "cwt_ucwa="+strings.TrimPrefix(c.token, "cwt="))
			}).status, "nor is a token a cookie")
		})
	}
}

func TestPhotosCanBeSwitchedOff(t *testing.T) {
	d := start(t, func(c *config.Config) { c.Photos.Enabled = false })
	c := newClient(t, d, asJSON)
	app := c.application(d)
	requireReason(t, c.do(http.MethodGet, app.child(t, "me").link(t, "photo"), "", ""), http.StatusForbidden, "Forbidden", "")
	require.Equal(t, "Disabled", c.get(app.link(t, "policies")).text("photos"))
	require.NotContains(t, c.get(app.child(t, "people").href+"/"+d.Username).links, "contactPhoto")
}
