package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
)

func TestPrintShowsEveryValueWithItsOriginAndNoSecret(t *testing.T) {
	t.Parallel()
	loaded, err := Load("testdata/full.yaml", []string{
		"UCWAGATE_TENANTS_0_CREDENTIAL_SECRET=" + secretWord,
		"UCWAGATE_LOG_LEVEL=debug",
	})
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, loaded.Print(&out))
	require.NotContains(t, out.String(), secretWord)
	require.NotContains(t, out.String(), loaded.Config.SignIn.TicketKeys[0].Reveal())
	golden(t, "testdata/full.golden", out.String())
}

func TestWhatIsPrintedLoadsAgainToTheSame(t *testing.T) {
	t.Parallel()
	path := write(t, `
server: {listen: ":0", server_name: "null.example", shutdown_grace: 0s}
signin: {entra: {audiences: ["true", "-a", "12", "a#b", "a:", "!x", "0x1", "~", "''", "ü"]}}
tenants:
  - {name: "1e3", tenant_id: 11111111-1111-1111-1111-111111111111, domains: ["1.5", "no", a-b.c], budget: {rate: 0.1}}
  - {name: "on", tenant_id: 22222222-2222-2222-2222-222222222222, domains: [x]}
`)
	loaded, err := Load(path, nil)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, loaded.Print(&out))
	again, err := Load(write(t, out.String()), nil)
	require.NoError(t, err, out.String())
	require.Empty(t, cmp.Diff(loaded.Config, again.Config, cmpopts.EquateEmpty(), cmpopts.EquateComparable()))
}

type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestPrintReturnsTheErrorOfItsWriter(t *testing.T) {
	t.Parallel()
	loaded, err := Load("", minimal)
	require.NoError(t, err)
	require.ErrorIs(t, loaded.Print(brokenWriter{}), errBroken)
}

func TestASecretShowsItselfNowhere(t *testing.T) {
	t.Parallel()
	credential := Credential{Kind: CredentialSecret, Secret: secretWord}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", credential.Secret, "credential", credential)
	encoded, err := json.Marshal(credential)
	require.NoError(t, err)
	shown := []string{log.String(), string(encoded)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		shown = append(shown, fmt.Sprintf(verb, credential), fmt.Sprintf(verb, credential.Secret), fmt.Sprintf(verb, &credential))
	}
	for _, text := range shown {
		require.NotContains(t, text, secretWord)
		require.NotContains(t, strings.ToLower(text), fmt.Sprintf("%x", secretWord))
	}
	require.Equal(t, secretWord, credential.Secret.Reveal())
	require.Empty(t, fmt.Sprint(Secret("")), "an empty secret can be told from one that is set")
}
