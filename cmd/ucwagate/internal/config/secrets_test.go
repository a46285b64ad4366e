package config

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func keep(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestTicketKeysComeFromTheListOrTheFile(t *testing.T) {
	t.Parallel()
	first, second := bytes.Repeat([]byte{0xfb}, 32), bytes.Repeat([]byte{2}, 40)
	one, two := base64.StdEncoding.EncodeToString(first), base64.RawURLEncoding.EncodeToString(second)

	for name, s := range map[string]SignIn{
		"list": {TicketKeys: []Secret{Secret(one), Secret(two)}},
		"file": {TicketKeysFile: keep(t, "# the new one\n "+one+" \r\n\n"+two)},
	} {
		keys, err := s.Keys()
		require.NoError(t, err, name)
		require.Equal(t, [][]byte{first, second}, keys, name)
	}

	keys, err := SignIn{}.Keys()
	require.NoError(t, err)
	require.Empty(t, keys, "none is configured")
}

func TestAnErrorAboutAKeyDoesNotContainIt(t *testing.T) {
	t.Parallel()
	for _, content := range []string{secretWord + "!", "aHVudGVyMg==", "a\nb\nc", ""} {
		_, err := SignIn{TicketKeysFile: keep(t, content)}.Keys()
		require.ErrorContains(t, err, "reading ticket_keys_file: ")
		require.NotContains(t, err.Error(), secretWord)
	}
	_, err := SignIn{TicketKeysFile: filepath.Join(t.TempDir(), "none")}.Keys()
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestTheClientSecretComesFromTheTextOrTheFile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Credential{
		"text": {Secret: secretWord},
		"file": {SecretFile: keep(t, secretWord+"\n")},
	} {
		secret, err := c.ClientSecret()
		require.NoError(t, err, name)
		require.Equal(t, secretWord, secret, name)
	}
	_, err := Credential{SecretFile: keep(t, " \n")}.ClientSecret()
	require.EqualError(t, err, "reading secret_file: the file is empty")
	_, err = Credential{SecretFile: t.TempDir()}.ClientSecret()
	require.ErrorContains(t, err, "is not a regular file")
	_, err = Credential{SecretFile: keep(t, strings.Repeat("x", maxFile+1))}.ClientSecret()
	require.ErrorContains(t, err, "is larger than 1MiB")
}

func TestACertificateComesWithItsPassword(t *testing.T) {
	t.Parallel()
	file := keep(t, "content")
	content, password, err := Credential{CertificateFile: file}.Certificate()
	require.NoError(t, err)
	require.Equal(t, "content", string(content))
	require.Nil(t, password)

	_, password, err = Credential{CertificateFile: file, CertificatePasswordFile: keep(t, " pass word \r\n")}.Certificate()
	require.NoError(t, err)
	require.Equal(t, " pass word ", string(password), "only the end of the line is cut")

	_, _, err = Credential{CertificateFile: file + "x"}.Certificate()
	require.ErrorContains(t, err, "reading certificate_file: ")
	_, _, err = Credential{CertificateFile: file, CertificatePasswordFile: file + "x"}.Certificate()
	require.ErrorContains(t, err, "reading certificate_password_file: ")
}

func TestRootsOfTheFileAreTrusted(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, DNSNames: []string{"graph.example"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)

	file := keep(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	pool, err := Tenant{CAFile: file}.RootCAs()
	require.NoError(t, err)
	_, err = certificate.Verify(x509.VerifyOptions{Roots: pool, DNSName: "graph.example"})
	require.NoError(t, err)

	pool, err = Tenant{}.RootCAs()
	require.NoError(t, err)
	require.Nil(t, pool)
	_, err = Tenant{CAFile: keep(t, "no certificate")}.RootCAs()
	require.EqualError(t, err, "reading ca_file: there is no PEM certificate in it")
}
