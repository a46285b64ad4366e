package proxytest

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheProgramAcceptsTheShippedFile(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		p, _ := settle(t, "127.0.0.1:8080", "127.0.0.2:8080")
		out, err := exec.CommandContext(t.Context(), k.program, k.check(k.write(t, p, nil), p)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.NotContains(t, strings.ToLower(string(out)), "[warn")
	})
}

func TestDiscoveryLeadsToThePublicName(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		w := gateways(t, k, 1)
		p := k.start(t, w.replicas)
		c := newClient(t, p.browser(t, false, "127.0.0.1"))
		for _, start := range []string{
			"https://" + discover + "/", "https://" + discoverHere + "/", "https://" + publicName + "/",
			"http://" + discover + "/", "http://" + discoverHere + "/", "http://" + discover + "/?sipuri=sip:user@example.com",
			"http://" + discover + "/Autodiscover/AutodiscoverService.svc/root?originalDomain=example.com",
			"http://" + discoverHere + "/autodiscover/autodiscoverservice.svc/root",
			"https://" + publicName + "//Autodiscover/AutodiscoverService.svc/root",
		} {
			root := c.get(start)
			for _, rel := range []string{"self", "user", "xframe"} {
				require.True(t, strings.HasPrefix(root.href(t, rel), "https://"+publicName+"/"), "%s: %s", start, root.href(t, rel))
			}
			c.signIn(start, w.Username, w.Password)
			require.Equal(t, "https://"+publicName+"/ucwa/oauth/v1/applications", c.apps)
			c.token = ""
		}
		frame := c.do(http.MethodGet, "https://"+discover+"/xframe", "", "Accept", "text/html")
		require.Equal(t, http.StatusOK, frame.status)
	})
}

func TestPlainHTTPServesNothingButDiscovery(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		w := gateways(t, k, 1)
		p := k.start(t, w.replicas)
		c := newClient(t, p.browser(t, false, "127.0.0.1"))
		for from, to := range map[string]string{
			"http://" + publicName + "/":                              "https://" + publicName + "/",
			"http://" + publicName + "/ucwa/oauth/v1/applications":    "https://" + publicName + "/ucwa/oauth/v1/applications",
			"http://" + discover + "/xframe?a=b":                      "https://" + discover + "/xframe?a=b",
			"http://" + discover + "/WebTicket/oauthtoken":            "https://" + discover + "/WebTicket/oauthtoken",
			"http://" + discover + "/graph/notifications/contoso":     "https://" + discover + "/graph/notifications/contoso",
			"http://" + discover + "/ucwa/oauth/v1/applications/1/me": "https://" + discover + "/ucwa/oauth/v1/applications/1/me",
		} {
			a := c.do(http.MethodGet, from, "")
			require.Equal(t, http.StatusMovedPermanently, a.status, from)
			require.Equal(t, to, a.header.Get("Location"))
		}
		require.Equal(t, http.StatusMethodNotAllowed, c.do(http.MethodPost, "http://"+discover+"/", "{}").status)
		require.Equal(t, http.StatusOK, c.do(http.MethodHead, "http://"+discover+"/", "").status)
		for _, s := range w.replicas[0].requests("") {
			require.Equal(t, "/", s.path)
		}
	})
}

func TestOtherNamesGetNoAnswer(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		w := gateways(t, k, 1)
		p := k.start(t, w.replicas)
		c := newClient(t, p.browser(t, false, "127.0.0.1"))
		for _, start := range []string{"http://other.example.com/", "https://other.example.com/", "https://10.0.0.1/"} {
			_, err := c.try(http.MethodGet, start, "")
			require.Error(t, err, start)
		}
		_, err := tls.Dial("tcp", p.address+":"+p.https, &tls.Config{ServerName: "other.example.com", RootCAs: p.roots, MinVersion: tls.VersionTLS12})
		require.ErrorContains(t, err, "unrecognized name", "no certificate is shown")
		require.Empty(t, w.replicas[0].requests(""))
	})
}

func TestNoReplicaIsAnAnswerThatClientsUnderstand(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		p := k.startAt(t, []string{"127.0.0.1:1"}) // nobody listens there
		for _, http2 := range []bool{false, true} {
			c := newClient(t, p.browser(t, http2, "127.0.0.1"))
			for _, start := range []string{"https://" + publicName + "/", "http://" + discover + "/"} {
				a := c.do(http.MethodGet, start, "")
				require.Equal(t, http.StatusServiceUnavailable, a.status, "502 makes clients forget the URL")
				require.Equal(t, "application/json", a.header.Get("Content-Type"))
				require.Equal(t, "5", a.header.Get("Retry-After"))
				var reason map[string]string
				require.NoError(t, json.Unmarshal(a.body, &reason), "%s", a.body)
				require.Equal(t, "ServiceUnavailable", reason["code"])
			}
		}
	})
}
