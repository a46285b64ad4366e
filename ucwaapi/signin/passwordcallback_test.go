package signin

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// checker is a password service.
type checker struct {
	t      *testing.T
	status int
	form   bool
	asked  atomic.Int64
}

func (c *checker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.asked.Add(1)
	data, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer of-the-gateway" {
		c.t.Errorf("%s %v", r.Method, err)
	}
	want, kind := `{"user":"ana@contoso.test","password":"Pass\u0026w@rd"}`, "application/json"
	if c.form {
		want, kind = "password=Pass%26w%40rd&user=ana%40contoso.test", formType
	}
	switch {
	case r.Header.Get("Content-Type") != kind:
		w.WriteHeader(http.StatusUnsupportedMediaType)
	case c.status >= 300 && c.status < 400:
		http.Redirect(w, r, "/elsewhere", c.status)
	case c.status != 0:
		w.WriteHeader(c.status)
	case string(data) != want:
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func TestPasswordCallback(t *testing.T) {
	for _, c := range []struct {
		name, user, password string
		form                 bool
		status               int
		want                 error
	}{
		{"the right password", "ana@contoso.test", "Pass&w@rd", false, 0, nil},
		{"the right password as a form", "Ana", "Pass&w@rd", true, 0, nil},
		{"a service that says 204", "ana", "x", false, 204, nil},
		{"a wrong password", "ana", "x", false, 0, ErrWrongPassword},
		{"a service that says 403", "ana", "x", false, 403, ErrWrongPassword},
		{"a service that says 404", "ana", "x", false, 404, ErrUnavailable},
		{"a service that says 429", "ana", "x", false, 429, ErrUnavailable},
		{"a service that says 500", "ana", "x", false, 500, ErrUnavailable},
		{"a redirect is not followed", "ana", "x", false, 307, ErrUnavailable},
		{"a redirect to a page is not followed", "ana", "x", false, 302, ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			service := &checker{t: t, status: c.status, form: c.form}
			srv := httptest.NewServer(service)
			defer srv.Close()
			o := CallbackOptions{URL: srv.URL + "/check", Header: http.Header{"Authorization": {"Bearer of-the-gateway"}}, Names: Names{DefaultDomain: "contoso.test"}}
			if service.form {
				o.Format = CallbackForm
			}
			p, err := NewPasswordCallback(o)
			require.NoError(t, err)
			id, err := p.CheckPassword(t.Context(), c.user, c.password)
			require.EqualValues(t, 1, service.asked.Load())
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
				require.Zero(t, id)
				require.NotContains(t, err.Error(), "of-the-gateway")
				return
			}
			require.NoError(t, err)
			require.Equal(t, Identity{Address: "ana@contoso.test", Method: MethodPassword}, id)
		})
	}
}

func TestTheServiceIsNotAskedInVain(t *testing.T) {
	service := &checker{t: t}
	srv := httptest.NewServer(service)
	defer srv.Close()
	p, err := NewPasswordCallback(CallbackOptions{URL: srv.URL, Names: Names{DefaultDomain: "contoso.test"}})
	require.NoError(t, err)
	for _, c := range []struct {
		user, password string
		want           error
	}{
		{"a b", "x", ErrUnknownUser},
		{"", "x", ErrUnknownUser},
		{`EVIL\ana`, "x", ErrUnknownUser},
		{"ana", "", ErrWrongPassword},
		{"ana", strings.Repeat("x", 1025), ErrWrongPassword},
		{"ana", "\xff", ErrWrongPassword},
	} {
		_, err := p.CheckPassword(t.Context(), c.user, c.password)
		require.ErrorIs(t, err, c.want)
	}
	require.Zero(t, service.asked.Load())
}

func TestAServiceThatIsSlowOrGoneIsUnavailable(t *testing.T) {
	done := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-done:
		}
	}))
	p, err := NewPasswordCallback(CallbackOptions{URL: srv.URL, TimeLimit: 50 * time.Millisecond, Names: Names{DefaultDomain: "contoso.test"}})
	require.NoError(t, err)
	_, err = p.CheckPassword(t.Context(), "ana", "hunter2")
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorIs(t, err, errTimeLimit)
	close(done)
	srv.Close()
	_, err = p.CheckPassword(t.Context(), "ana", "hunter2")
	require.ErrorIs(t, err, ErrUnavailable)
	require.NotContains(t, err.Error(), "hunter2")
}

func TestAServiceWithoutATrustedCertificateGetsNoPassword(t *testing.T) {
	service := &checker{t: t}
	srv := httptest.NewUnstartedServer(service)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	srv.StartTLS()
	defer srv.Close()
	p, err := NewPasswordCallback(CallbackOptions{URL: srv.URL, Names: Names{DefaultDomain: "contoso.test"}})
	require.NoError(t, err)
	_, err = p.CheckPassword(t.Context(), "ana", "x")
	require.ErrorIs(t, err, ErrUnavailable)
	require.Zero(t, service.asked.Load())

	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig
	p, err = NewPasswordCallback(CallbackOptions{URL: srv.URL, TLS: roots, Header: http.Header{"Authorization": {"Bearer of-the-gateway"}}, Remember: time.Second, Names: Names{DefaultDomain: "contoso.test"}})
	require.NoError(t, err)
	for range 2 {
		_, err = p.CheckPassword(t.Context(), "ana", "Pass&w@rd")
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, service.asked.Load(), "remembered")
}

func TestNewPasswordCallbackRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		o    CallbackOptions
		want string
	}{
		{"no URL", CallbackOptions{}, "not a URL"},
		{"http to another machine", CallbackOptions{URL: "http://auth.contoso.test/"}, "https is needed"},
		{"http to a name that begins with localhost", CallbackOptions{URL: "http://localhost.evil.test/"}, "https is needed"},
		{"http to a private address", CallbackOptions{URL: "http://10.0.0.1/"}, "https is needed"},
		{"another scheme", CallbackOptions{URL: "ftp://localhost/"}, "https is needed"},
		{"a user in the URL", CallbackOptions{URL: "https://user:hunter2@auth.contoso.test/"}, "a user, a query or a fragment"},
		{"a query", CallbackOptions{URL: "https://auth.contoso.test/?key=hunter2"}, "a user, a query or a fragment"},
		{"a URL that cannot be read", CallbackOptions{URL: "https://hunter2:%zz/"}, "not a URL"},
		{"another format", CallbackOptions{URL: "https://a.test", Format: "xml"}, `format "xml"`},
		{"a long time limit", CallbackOptions{URL: "https://a.test", TimeLimit: time.Hour}, "time limit"},
		{"a negative number at a time", CallbackOptions{URL: "https://a.test", Concurrency: -1}, "-1 checks at a time"},
		{"a long memory", CallbackOptions{URL: "https://a.test", Remember: 61 * time.Second}, "remembering"},
		{"a bad table", CallbackOptions{URL: "https://a.test", Names: Names{Domains: map[string]string{"": "a"}}}, "domain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewPasswordCallback(c.o)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
	for _, u := range []string{"https://a.test", "http://localhost:1/x", "http://127.0.0.1", "http://[::1]:8"} {
		p, err := NewPasswordCallback(CallbackOptions{URL: u, Concurrency: 7})
		require.NoError(t, err)
		require.Equal(t, 7, p.Concurrency())
		require.Equal(t, "ana", p.Account("Ana"))
	}
}
