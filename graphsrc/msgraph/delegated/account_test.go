package delegated

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"
	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/graphsim"
	"ucwagate/graphsrc/msgraph"
)

func TestATokenIsKeptUntilShortlyBeforeItsEnd(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	m := p.open(t)
	p.signIn(t, m, p.ana().UserPrincipalName)
	began := m.wire.tokens.Load()
	token := m.token(t)
	require.Equal(t, token, m.token(t))
	require.Equal(t, began, m.wire.tokens.Load(), "the token of the sign-in serves")
	other := p.open(t)
	require.Equal(t, token, other.token(t), "a second process takes it out of the file")
	require.Zero(t, other.wire.tokens.Load())
}

func TestEveryRotationIsInTheFile(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	m := p.open(t)
	p.signIn(t, m, p.ana().UserPrincipalName)
	before, err := Read(t.Context(), p.file)
	require.NoError(t, err)
	p.hasty(t)
	m.clock.advance(time.Hour)
	require.NoError(t, os.Remove(p.file+".lock"))
	forgetAccessTokens(t, p.file)
	seen := map[string]bool{}
	for range 3 {
		seen[m.token(t)] = true
		// The old refresh token is refused by now: who opens the file needs the
		// newest one.
		seen[p.open(t).token(t)] = true
		info, err := os.Stat(p.file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
	}
	require.Len(t, seen, 6)
	after, err := Read(t.Context(), p.file)
	require.NoError(t, err)
	require.Equal(t, before.SignedIn, after.SignedIn)
	require.True(t, after.Rotated.After(before.Rotated))
	require.Equal(t, after.Rotated.Add(Lifetime), after.Expires())
}

func TestReplicasShareOneFile(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	replicas := []*member{p.open(t), p.open(t), p.open(t)}
	p.signIn(t, replicas[0], p.ana().UserPrincipalName)
	p.hasty(t)
	forgetAccessTokens(t, p.file)
	var group sync.WaitGroup
	for _, m := range replicas {
		for range 4 {
			group.Go(func() {
				for range 5 {
					_, err := m.GetToken(t.Context(), policy.TokenRequestOptions{})
					require.NoError(t, err)
					require.Equal(t, p.ana().ID, m.ID())
				}
			})
		}
	}
	group.Wait()
	for _, m := range replicas {
		require.Empty(t, m.log.String())
	}
}

func TestCallersShareOneAttempt(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	p.signIn(t, p.open(t), p.ana().UserPrincipalName)
	forgetAccessTokens(t, p.file)
	m := p.open(t)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() { m.token(t) })
	}
	group.Wait()
	require.EqualValues(t, 1, m.wire.tokens.Load())
}

func TestAChallengeGetsANewToken(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	m := p.open(t)
	p.signIn(t, m, p.ana().UserPrincipalName)
	old := m.token(t)
	for _, claims := range []string{`{}`, `{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}`} {
		token, err := m.GetToken(t.Context(), policy.TokenRequestOptions{Claims: claims})
		require.NoError(t, err)
		require.NotEqual(t, old, token.Token)
		require.Equal(t, token.Token, m.token(t))
		old = token.Token
	}
}

func TestARevokedSignInAsksForAPersonAndLeavesEntraAlone(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	m := p.open(t)
	p.signIn(t, m, p.ana().UserPrincipalName)
	require.NoError(t, p.tenant.RevokeSignIns(p.ana().ID))
	forgetAccessTokens(t, p.file)
	began := m.wire.tokens.Load()
	for range 5 {
		e := m.refused(t, graphsrc.KindUnauthorized)
		require.ErrorIs(t, e, graphsrc.ErrSignInNeeded)
		require.Equal(t, "AADSTS50173", e.Code)
		require.Equal(t, 400, e.Status)
		require.NotContains(t, e.Error(), "Trace ID")
	}
	require.Equal(t, began+1, m.wire.tokens.Load())
	m.clock.advance(signInHold - time.Second)
	m.refused(t, graphsrc.KindUnauthorized)
	require.Equal(t, began+1, m.wire.tokens.Load())
	m.clock.advance(2 * time.Second)
	m.refused(t, graphsrc.KindUnauthorized)
	require.Equal(t, began+2, m.wire.tokens.Load())
	require.Equal(t, 1, m.log.count("must be signed in again"))
	// A command of its own signs the account in again, and nobody waits.
	p.signIn(t, p.open(t), p.ana().UserPrincipalName)
	m.token(t)
}

func TestAnotherProcessSignsInAndOut(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	m := p.open(t)
	e := m.refused(t, graphsrc.KindUnauthorized)
	require.ErrorIs(t, e, graphsrc.ErrSignInNeeded)
	require.ErrorContains(t, e, p.file)
	require.Empty(t, m.Username()+m.ID())

	other := p.open(t)
	p.signIn(t, other, p.ana().UserPrincipalName)
	first := m.token(t)
	require.Equal(t, p.ana().UserPrincipalName, m.Username())
	require.Equal(t, p.ana().ID, m.ID())
	p.signIn(t, other, p.ben().UserPrincipalName)
	require.NotEqual(t, first, m.token(t))
	require.Equal(t, p.ben().UserPrincipalName, m.Username())
	require.Equal(t, p.ben().ID, m.ID())

	require.NoError(t, other.Forget(t.Context()))
	require.NoFileExists(t, p.file)
	require.ErrorIs(t, m.refused(t, graphsrc.KindUnauthorized), graphsrc.ErrSignInNeeded)
	require.Empty(t, m.Username())
	require.Zero(t, m.wire.tokens.Load())
}

func TestAFileOfAnotherApplicationIsOfNoUse(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	p.signIn(t, p.open(t), p.ana().UserPrincipalName)
	p.graph.ClientID = "12345678-0000-0000-0000-000000000000"
	m := p.open(t)
	require.ErrorIs(t, m.refused(t, graphsrc.KindUnauthorized), graphsrc.ErrSignInNeeded)
	require.Zero(t, m.wire.tokens.Load())
}

func TestAnAuthorityInTroubleIsNotAsked(t *testing.T) {
	const secret = "secret-trace"
	for name, tc := range map[string]struct {
		status int
		body   string
		header []string
		kind   graphsrc.Kind
		wait   time.Duration
		hold   time.Duration
	}{
		"down":                  {503, secret, nil, graphsrc.KindUnavailable, 0, failureHold},
		"limiting":              {429, `{"error":"` + secret + `"}`, []string{"Retry-After", "30"}, graphsrc.KindUnavailable, 30 * time.Second, 30 * time.Second},
		"limiting for long":     {429, ``, []string{"Retry-After", "3600"}, graphsrc.KindUnavailable, time.Hour, signInHold},
		"refusing the app":      {401, `{"error":"invalid_client","error_description":"AADSTS7000218: ` + secret + `"}`, nil, graphsrc.KindUnauthorized, 0, failureHold},
		"answering nonsense":    {200, secret, nil, graphsrc.KindMalformed, 0, failureHold},
		"answering no token":    {200, `{"expires_in":3600,"x":"` + secret + `"}`, nil, graphsrc.KindUnauthorized, 0, failureHold},
		"wanting less of scope": {200, `{"expires_in":3600,"access_token":"` + secret + `","scope":"User.Read"}`, nil, graphsrc.KindUnauthorized, 0, failureHold},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, graphsim.Config{})
			m := p.open(t)
			p.signIn(t, m, p.ana().UserPrincipalName)
			forgetAccessTokens(t, p.file)
			m.wire.onToken(tc.status, tc.body, tc.header...)
			began := m.wire.tokens.Load()
			for range 3 {
				e := m.refused(t, tc.kind)
				require.NotErrorIs(t, e, graphsrc.ErrSignInNeeded)
				require.Equal(t, tc.wait, e.RetryAfter)
				require.NotContains(t, e.Error(), secret)
			}
			require.Equal(t, began+1, m.wire.tokens.Load())
			m.clock.advance(tc.hold - time.Second)
			m.refused(t, tc.kind)
			require.Equal(t, began+1, m.wire.tokens.Load())
			m.wire.answer(nil)
			m.clock.advance(2 * time.Second)
			m.token(t)
			require.NotContains(t, m.log.String(), secret)
		})
	}
}

func TestAnOldTokenServesWhileTheAuthorityIsOutOfReach(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	m := p.open(t)
	p.signIn(t, m, p.ana().UserPrincipalName)
	old := m.token(t)
	forgetAccessTokens(t, p.file)
	m.mu.Lock()
	m.seen = m.vault.look() // the token in memory is to stay
	m.mu.Unlock()
	m.wire.answer(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route to " + old) })
	m.clock.advance(time.Hour - expiryMargin/2)
	for range 2 {
		require.Equal(t, old, m.token(t))
	}
	_, err := m.GetToken(t.Context(), policy.TokenRequestOptions{Claims: "{}"})
	require.Error(t, err, "Graph has refused this one")
	m.clock.advance(expiryMargin)
	e := m.refused(t, graphsrc.KindUnavailable)
	require.Equal(t, "the authority is out of reach", e.Message)
}

func TestNobodyWaitsLongerThanTheirDeadline(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	m := p.open(t)
	p.signIn(t, m, p.ana().UserPrincipalName)
	unlock, err := tryLock(p.file + ".lock")
	require.NoError(t, err)
	on(t, 50*time.Millisecond, func(ctx context.Context) {
		_, err := m.GetToken(ctx, policy.TokenRequestOptions{})
		var e *graphsrc.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, graphsrc.KindTimeout, e.Kind)
	})
	unlock()
	m.token(t)
}

func TestAfterCloseNoTokenIsToBeHad(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	m := p.open(t)
	m.Close()
	m.refused(t, graphsrc.KindTimeout)
}

func TestAPanicIsAFailure(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	m := p.open(t)
	p.signIn(t, m, p.ana().UserPrincipalName)
	good := m.client
	m.client = public.Client{} // which panics
	m.refused(t, graphsrc.KindUnauthorized)
	m.client = good
	m.clock.advance(failureHold)
	m.token(t)
}

func TestOnlyScopesOfGraphAreServed(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	m := p.open(t)
	p.signIn(t, m, p.ana().UserPrincipalName)
	_, err := m.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{p.graph.GraphURL + "/.default"}})
	require.NoError(t, err)
	_, err = m.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}})
	var e *graphsrc.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, graphsrc.KindInvalid, e.Kind)
}

func TestEveryFaultOfTheOptionsIsNamed(t *testing.T) {
	for want, o := range map[string]Options{
		"TenantID is missing": {File: "f", Graph: msgraph.Config{ClientID: "c"}},
		"ClientID is missing": {File: "f", Graph: msgraph.Config{TenantID: "t"}},
		"the file is missing": {Graph: msgraph.Config{TenantID: "t", ClientID: "c"}},
		"neither a directory": {File: "f", Graph: msgraph.Config{TenantID: "t/../x", ClientID: "c"}},
		`cloud "mars"`:        {File: "f", Graph: msgraph.Config{TenantID: "t", ClientID: "c", Cloud: "mars"}},
	} {
		_, err := New(o)
		require.ErrorContains(t, err, want)
	}
	for _, cloud := range []string{msgraph.CloudGlobal, msgraph.CloudUSGov} {
		a, err := New(Options{File: "f", Graph: msgraph.Config{TenantID: "t", ClientID: "c", Cloud: cloud}})
		require.NoError(t, err)
		a.Close()
	}
}

func TestAnAccountPrintsAsItsFile(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	m := p.open(t)
	p.signIn(t, m, p.ana().UserPrincipalName)
	token := m.token(t)
	slog.New(slog.NewTextHandler(m.log, nil)).Info("x", "account", m.Account)
	text := fmt.Sprintf("%v %+v %#v %s", m.Account, m.Account, m.Account, m.Account) + m.log.String()
	require.NotContains(t, text, token)
	require.Equal(t, 5, strings.Count(text, "helper account in "+p.file))
}

// forgetAccessTokens leaves only the refresh token in a file, as after some
// hours.
func forgetAccessTokens(t *testing.T, file string) {
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	var whole, tokens map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &whole))
	require.NoError(t, json.Unmarshal(whole["cache"], &tokens))
	require.Contains(t, tokens, "AccessToken")
	require.Contains(t, tokens, "RefreshToken")
	delete(tokens, "AccessToken")
	whole["cache"], err = json.Marshal(tokens)
	require.NoError(t, err)
	raw, err = json.Marshal(whole)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, raw, 0o600))
}
