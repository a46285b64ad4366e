package signin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/clock"
)

// audit collects what OnSignIn is told.
type audit struct {
	mu     sync.Mutex
	events []SignIn
}

func (a *audit) hear(_ context.Context, e SignIn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, e)
}

// heard returns method and result of what was told since the last call.
func (a *audit) heard() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []string
	for _, e := range a.events {
		list = append(list, e.Method+" "+string(e.Result))
	}
	a.events = nil
	return list
}

func TestEveryResultIsTold(t *testing.T) {
	i, clk := startIssuer(t), newShiftedClock()
	var told audit
	may := true
	a := newAuthenticator(t, Options{
		Transports: []Transport{newForwarded(t, nil), newFixed(t)}, Entra: i.entra(t, clk, func(c *EntraConfig) { c.Scopes = []string{"Presence.Access"} }),
		Passwords: testPasswords(t, "contoso.test"), Attempts: NewAttempts(2, nil), OnSignIn: told.hear, Clock: clk,
		Tickets: must(NewTickets([][]byte{testKey(1)}, 0, clk)),
		MaySignIn: func(Identity) error {
			if may {
				return nil
			}
			return errors.New("no")
		},
	})
	h := a.Handler(a.TokenService(gatewayBase))
	now := clk.Now()
	const proxy, elsewhere = "10.1.2.3:1", "192.0.2.1:1"
	token := func(change map[string]any) string {
		claims := map[string]any{"scp": "User.Read Presence.Access"}
		for k, v := range change {
			claims[k] = v
		}
		return sign(t, 0, i.claims(now, claims))
	}
	request := func(r *http.Request) { _, _, _ = through(a, r) }
	bearer := func(token string) *http.Request { return from(elsewhere, "Authorization", "Bearer "+token) }
	ticket, _ := a.tickets.Issue(ana)
	fresh := token(nil)
	for _, c := range []struct {
		name string
		do   func()
		want []string
	}{
		{"no credentials at all", func() { request(from(elsewhere)) }, nil},
		{"a right password", func() { post(h, "192.0.2.1", "bo", "b") }, []string{"password ok"}},
		{"a wrong password", func() { post(h, "192.0.2.66", "bo", "x") }, []string{"password wrong-password"}},
		{"an unknown user", func() { post(h, "192.0.2.66", "eve", "x") }, []string{"password unknown-user"}},
		{"too many wrong ones", func() { post(h, "192.0.2.66", "bo", "b") }, []string{"password throttled"}},
		{"a good ticket is no sign-in", func() { request(bearer(ticket)) }, nil},
		{"a changed ticket", func() { request(bearer(ticket + "A")) }, []string{"ticket bad-signature"}},
		{"nonsense", func() { request(bearer("x")) }, []string{"ticket malformed"}},
		{"an access token, once", func() { request(bearer(fresh)); request(bearer(fresh)) }, []string{"entra ok"}},
		{"an access token of another audience", func() { request(bearer(token(map[string]any{"aud": "x"}))) }, []string{"entra wrong-audience"}},
		{"an access token of another issuer", func() { request(bearer(token(map[string]any{"iss": "x"}))) }, []string{"entra wrong-issuer"}},
		{"an access token that has expired", func() { request(bearer(token(map[string]any{"exp": now.Add(-time.Hour).Unix()}))) }, []string{"entra expired"}},
		{"an access token of tomorrow", func() { request(bearer(token(map[string]any{"nbf": now.Add(time.Hour).Unix()}))) }, []string{"entra not-yet-valid"}},
		{"an access token of nobody", func() { request(bearer(token(map[string]any{"preferred_username": nil}))) }, []string{"entra unknown-user"}},
		{"an access token without the scope", func() { request(bearer(token(map[string]any{"scp": "User.Read"}))) }, []string{"entra not-allowed"}},
		{"an access token with a broken signature", func() { request(bearer(fresh[:len(fresh)-5] + "AAAAA")) }, []string{"entra bad-signature"}},
		{"a connection of the proxy, once", func() {
			request(from(proxy, "X-Forwarded-User", "ana"))
			request(from(proxy, "X-Forwarded-User", "ana"))
		}, []string{"proxy ok"}},
		{"another user of the proxy", func() { request(from(proxy, "X-Forwarded-User", "bo")) }, []string{"proxy ok"}},
		{"a ticket for a connection", func() { grantOver(a, proxy, windowsForm, "X-Forwarded-User", "ana") }, []string{"proxy ok"}},
		{"a spoofed header", func() { request(from(elsewhere, "X-Forwarded-User", "ana")) }, []string{"proxy untrusted"}},
		{"a header twice", func() { request(from(proxy, "X-Forwarded-User", "ana", "X-Forwarded-User", "bo")) }, []string{"proxy malformed"}},
		{"a foreign host on the fixed listener", func() { request(over(Peer{Unix: true, Fixed: true}, from("@"))) }, []string{"fixed not-allowed"}},
		{"a ticket of another user than the connection's", func() { request(from(proxy, "X-Forwarded-User", "bo", "Authorization", "Bearer "+ticket)) }, []string{"ticket user-mismatch"}},
		{"a password of another user than the connection's", func() {
			grantOver(a, proxy, "grant_type=password&username=bo&password=b", "X-Forwarded-User", "ana")
		}, []string{"password user-mismatch"}},
		{"somebody who may not", func() {
			may = false
			request(bearer(ticket))
			post(h, "192.0.2.1", "bo", "b")
			request(from(proxy, "X-Forwarded-User", "ana"))
			may = true
		}, []string{"ticket not-allowed", "password not-allowed", "proxy not-allowed"}},
		{"a ticket that has expired", func() { clk.advance(9 * time.Hour); request(bearer(ticket)) }, []string{"ticket expired"}},
		{"an outage of the authority", func() {
			i.fail(func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
			now = clk.Now()
			request(bearer(sign(t, 1, i.claims(now, map[string]any{"scp": "Presence.Access"}))))
		}, []string{"entra unavailable"}},
	} {
		c.do()
		require.Equal(t, c.want, told.heard(), c.name)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestAnEventNamesNobodyUnlessAsked(t *testing.T) {
	var told audit
	for _, c := range []struct {
		name  string
		named bool
		want  string
	}{{"a pseudonym only", false, ""}, {"the address where it is asked for", true, "bo@contoso.test"}} {
		a := newAuthenticator(t, Options{
			Passwords: testPasswords(t, "contoso.test"), OnSignIn: told.hear, NameUsers: c.named, PseudonymKey: []byte("k"),
			ClientAddress: func(*http.Request) string { return "198.51.100.7" },
		})
		post(a.TokenService(gatewayBase), "192.0.2.1", "BO", "hunter2")
		post(a.TokenService(gatewayBase), "192.0.2.1", "sip:bo@contoso.test", "b")
		first, second := told.events[0], told.events[1]
		require.Equal(t, first.Account, second.Account, "one person is one pseudonym")
		require.Len(t, first.Account, 16)
		require.Equal(t, c.want, first.Address, c.name)
		require.Equal(t, "198.51.100.7", first.Peer)
		for _, e := range told.events {
			text := fmt.Sprintf("%+v", e)
			require.NotContains(t, text, "hunter2")
			if !c.named {
				require.NotContains(t, text, "contoso")
			}
		}
		told.heard()
	}
	one, other := Options{Passwords: testPasswords(t), OnSignIn: told.hear}, Options{Passwords: testPasswords(t), OnSignIn: told.hear}
	post(newAuthenticator(t, one).TokenService(gatewayBase), "192.0.2.1", "bo@contoso.test", "b")
	post(newAuthenticator(t, other).TokenService(gatewayBase), "192.0.2.1", "bo@contoso.test", "b")
	require.NotEqual(t, told.events[0].Account, told.events[1].Account, "without a key a pseudonym ends with the process")
	// Whoever adds a field to the event thinks of what it gives away.
	require.Equal(t, 6, reflect.TypeFor[SignIn]().NumField())
}

func TestASuccessOfAConnectionIsToldOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told audit
		a := newAuthenticator(t, Options{Transports: []Transport{newForwarded(t, nil)}, OnSignIn: told.hear, Clock: clock.System()})
		visit := func(user string) { _, _, _ = through(a, from("10.1.2.3:1", "X-Forwarded-User", user)) }
		visit("ana")
		<-time.After(tellAgain - time.Second)
		visit("ana")
		require.Len(t, told.heard(), 1)
		<-time.After(time.Second)
		visit("ana")
		require.Len(t, told.heard(), 1)
		for n := range maxTold + 1 {
			visit(fmt.Sprintf("u%d", n))
		}
		require.LessOrEqual(t, len(a.events.told), maxTold, "the memory is bounded")
	})
}

func TestResultsAndMethodsAreLabels(t *testing.T) {
	var seen []string
	for _, r := range Results() {
		require.Regexp(t, `^[a-z-]+$`, string(r))
		seen = append(seen, string(r))
	}
	for _, m := range Methods() {
		require.Regexp(t, `^[a-z-]+$`, m)
		require.LessOrEqual(t, len(m), maxMethodLen, "a ticket has room for it")
	}
	slices.Sort(seen)
	require.Len(t, slices.Compact(seen), 15)
	require.Equal(t, ResultOK, resultOf(nil))
	require.Equal(t, ResultUnavailable, resultOf(errors.New("anything else")))
	require.Equal(t, ResultAbandoned, resultOf(fmt.Errorf("x: %w", errBusy)))
	require.True(t, strings.HasPrefix(forbidden(ResultOK, "x").Error(), "sign-in refused"))
}
