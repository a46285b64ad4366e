package delegated

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/graphsim"
)

func TestASignInIsShownAndKept(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	m := p.open(t)
	shown := 0
	name, err := m.SignIn(t.Context(), func(message, page, code string, expires time.Time) {
		shown++
		require.Contains(t, message, page)
		require.Contains(t, message, code)
		require.True(t, strings.HasPrefix(page, "https://"))
		require.WithinDuration(t, time.Now().Add(15*time.Minute), expires, time.Minute)
		require.NoError(t, p.tenant.ApproveDevice(code, p.ana().UserPrincipalName))
	})
	require.NoError(t, err)
	require.Equal(t, 1, shown)
	require.Equal(t, p.ana().UserPrincipalName, name)
	info, err := Read(t.Context(), p.file)
	require.NoError(t, err)
	require.Equal(t, Info{
		Username: name, ID: p.ana().ID, TenantID: p.graph.TenantID, ClientID: p.graph.ClientID,
		SignedIn: info.SignedIn, Rotated: info.Rotated,
	}, info)
	require.WithinDuration(t, time.Now(), info.SignedIn, time.Minute)
	stat, err := os.Stat(p.file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), stat.Mode())
	entries, err := os.ReadDir(strings.TrimSuffix(p.file, "helper.json"))
	require.NoError(t, err)
	require.Len(t, entries, 2, "the file and its lock")
}

func TestASignInWaitsForThePerson(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	m := p.open(t)
	var code string
	m.wire.answer(func(*http.Request) (*http.Response, error) {
		if m.wire.tokens.Load() == 3 { // two polls were answered with "pending"
			require.NoError(t, p.tenant.ApproveDevice(code, p.ana().UserPrincipalName))
		}
		return nil, nil
	})
	name, err := m.SignIn(t.Context(), func(_, _, shown string, _ time.Time) { code = shown })
	require.NoError(t, err)
	require.Equal(t, p.ana().UserPrincipalName, name)
	require.EqualValues(t, 3, m.wire.tokens.Load())
}

func TestASignInThatFailsLeavesTheFileAlone(t *testing.T) {
	const secret = "secret-trace"
	for name, tc := range map[string]struct {
		during func(*testing.T, *place, *member, string)
		want   error
		text   string
	}{
		"declined": {func(t *testing.T, p *place, _ *member, code string) {
			require.NoError(t, p.tenant.DeclineDevice(code))
		}, ErrDeclined, "declined"},
		"too late, says the authority": {func(_ *testing.T, _ *place, m *member, _ string) {
			m.wire.onToken(400, `{"error":"expired_token","error_description":"AADSTS70020: `+secret+`"}`)
		}, ErrCodeExpired, "AADSTS70020"},
		"not allowed to this application": {func(_ *testing.T, _ *place, m *member, _ string) {
			m.wire.onToken(401, `{"error":"invalid_client","error_description":"AADSTS7000218: `+secret+`"}`)
		}, nil, "must allow public client flows"},
		"not consented to": {func(_ *testing.T, _ *place, m *member, _ string) {
			m.wire.onToken(200, `{"expires_in":3600,"access_token":"`+secret+`","scope":"User.Read"}`)
		}, nil, "was not granted"},
		"answered with nonsense": {func(_ *testing.T, _ *place, m *member, _ string) {
			m.wire.onToken(200, secret)
		}, nil, "makes no sense"},
		"out of reach": {func(_ *testing.T, _ *place, m *member, _ string) {
			m.wire.answer(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") })
		}, nil, "out of reach"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, graphsim.Config{})
			m := p.open(t)
			p.signIn(t, m, p.ana().UserPrincipalName)
			before, err := os.ReadFile(p.file)
			require.NoError(t, err)
			_, err = m.SignIn(t.Context(), func(_, _, code string, _ time.Time) { tc.during(t, p, m, code) })
			require.ErrorContains(t, err, tc.text)
			require.NotContains(t, err.Error(), secret)
			if tc.want != nil {
				require.ErrorIs(t, err, tc.want)
			}
			after, err := os.ReadFile(p.file)
			require.NoError(t, err)
			require.True(t, bytes.Equal(before, after))
		})
	}
}

func TestACodeThatNobodyEntersExpires(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	m := p.open(t)
	m.wire.answer(func(r *http.Request) (*http.Response, error) {
		if !strings.HasSuffix(r.URL.Path, "/devicecode") {
			return nil, nil
		}
		resp, err := m.wire.next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		var body map[string]any
		if err := json.Unmarshal(raw, &body); err != nil {
			return nil, err
		}
		body["expires_in"] = 1
		raw, err = json.Marshal(body)
		return made(r, 200, string(raw)), err
	})
	_, err := m.SignIn(t.Context(), func(string, string, string, time.Time) {})
	require.ErrorIs(t, err, ErrCodeExpired)
	require.NoFileExists(t, p.file)
}

func TestASignInEndsWithItsContext(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	m := p.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := m.SignIn(ctx, func(string, string, string, time.Time) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
}

func TestAnUnknownApplicationGetsNoCode(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	p.graph.ClientID = "12345678-0000-0000-0000-000000000000"
	_, err := p.open(t).SignIn(t.Context(), func(string, string, string, time.Time) { t.Error("a code is shown") })
	require.ErrorContains(t, err, "AADSTS700016")
	require.ErrorContains(t, err, "the application is not known in this tenant")
	require.NotContains(t, err.Error(), "Trace ID")
}

func TestNobodySignsInForAFileThatCannotBeWritten(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	folder := p.file
	for _, file := range []string{folder + "/missing/helper.json", strings.TrimSuffix(p.file, "/helper.json")} {
		p.file = file
		_, err := p.open(t).SignIn(t.Context(), func(string, string, string, time.Time) { t.Error("a code is shown") })
		require.Error(t, err)
	}
}
