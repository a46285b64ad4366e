package config

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// minTicketKey is the shortest key worth signing with, in bytes: the
	// output of SHA-256.
	minTicketKey = 32
	// maxTicketKeys is one key that signs and one that is being retired.
	maxTicketKeys = 2
	// maxFile bounds every file that a configuration names and this package
	// reads, in bytes.
	maxFile = 1 << 20
)

// Keys returns the keys of web tickets, from ticket_keys or ticket_keys_file:
// the first signs, every one verifies. It returns none where none is
// configured; the caller makes one then. No error contains a key.
func (s SignIn) Keys() ([][]byte, error) {
	if s.TicketKeysFile == "" {
		return decodeTicketKeys(s.TicketKeys)
	}
	content, err := readFile(s.TicketKeysFile)
	if err != nil {
		return nil, fmt.Errorf("reading ticket_keys_file: %w", err)
	}
	var lines []Secret
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, Secret(line))
		}
	}
	if len(lines) == 0 {
		return nil, errors.New("reading ticket_keys_file: there is no key in it")
	}
	keys, err := decodeTicketKeys(lines)
	if err != nil {
		return nil, fmt.Errorf("reading ticket_keys_file: %w", err)
	}
	return keys, nil
}

func decodeTicketKeys(texts []Secret) ([][]byte, error) {
	if len(texts) > maxTicketKeys {
		return nil, fmt.Errorf("there are %d keys; one signs and one more may verify", len(texts))
	}
	var keys [][]byte
	for i, text := range texts {
		key, ok := decodeBase64(text.Reveal())
		if !ok {
			return nil, fmt.Errorf("key %d is not base64", i+1)
		}
		if len(key) < minTicketKey {
			return nil, fmt.Errorf("key %d has %d bytes; at least %d are needed", i+1, len(key), minTicketKey)
		}
		if i > 0 && bytes.Equal(key, keys[0]) {
			return nil, errors.New("both keys are the same")
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// decodeBase64 reads all four common forms: standard or URL alphabet, padded
// or not.
func decodeBase64(text string) ([]byte, bool) {
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if key, err := enc.DecodeString(text); err == nil {
			return key, true
		}
	}
	return nil, false
}

// ClientSecret returns the client secret, from secret or secret_file; space
// around the content of the file is not part of it. It returns the empty text
// where neither is set.
func (c Credential) ClientSecret() (string, error) {
	return secretOrFile(c.Secret, "secret_file", c.SecretFile)
}

// secretOrFile returns the content of the file, where the key names one, without
// the space around it, else the secret.
func secretOrFile(secret Secret, key, path string) (string, error) {
	if path == "" {
		return secret.Reveal(), nil
	}
	content, err := readFile(path)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", key, err)
	}
	text := strings.TrimSpace(string(content))
	if text == "" {
		return "", fmt.Errorf("reading %s: the file is empty", key)
	}
	return text, nil
}

// Certificate returns the content of certificate_file, and the password from
// certificate_password_file without the end of its line (nil where there is
// none).
func (c Credential) Certificate() (content, password []byte, err error) {
	content, err = readFile(c.CertificateFile)
	if err != nil {
		return nil, nil, fmt.Errorf("reading certificate_file: %w", err)
	}
	if c.CertificatePasswordFile == "" {
		return content, nil, nil
	}
	password, err = readFile(c.CertificatePasswordFile)
	if err != nil {
		return nil, nil, fmt.Errorf("reading certificate_password_file: %w", err)
	}
	return content, bytes.TrimRight(password, "\r\n"), nil
}

// RootCAs returns the system's root certificates and those of ca_file. It
// returns nil, which means the system's to package crypto/tls, where no
// ca_file is set.
func (t Tenant) RootCAs() (*x509.CertPool, error) { return rootCAs(t.CAFile) }

func rootCAs(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	content, err := readFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading ca_file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		// A minimal image may have no roots at all; the file's remain.
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(content) {
		return nil, errors.New("reading ca_file: there is no PEM certificate in it")
	}
	return pool, nil
}

// readFile reads a regular file of at most maxFile bytes. Anything else is
// refused before it is opened, since opening a pipe would wait for its writer.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLimited(f, path)
}

func readLimited(r io.Reader, path string) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("%s is larger than %s", path, Size(maxFile))
	}
	return content, nil
}
