package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// What stands in lists of sign-in and access has forms of its own.

// socketPrefix begins the address of a unix socket.
const socketPrefix = "unix:"

func readListenOrSocket(text string) (string, error) {
	path, socket := strings.CutPrefix(text, socketPrefix)
	if !socket {
		return readListen(text)
	}
	if !filepath.IsAbs(path) {
		return "", errors.New("must be unix: and an absolute path")
	}
	return text, nil
}

// readCallback reads a URL to which passwords are posted, so only a loopback
// address goes without TLS.
func readCallback(text string) (string, error) {
	u, err := readURL(text, "http", "https")
	if err != nil {
		return "", err
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return "", errors.New("must be https, except on a loopback address")
	}
	return u.String(), nil
}

func readAddress(text string) (string, error) {
	user, domain, ok := strings.Cut(strings.ToLower(text), "@")
	if domain, err := readDomain(domain); ok && err == nil && user != "" && !strings.ContainsAny(user, " @:;,\"<>") {
		return user + "@" + domain, nil
	}
	return "", errors.New("must be an address such as ana@contoso.com")
}

func readAbsolute(text string) (string, error) {
	if !filepath.IsAbs(text) {
		return "", errors.New("must be an absolute path")
	}
	return text, nil
}

// readFingerprint reads a SHA-256 fingerprint, with or without colons.
func readFingerprint(text string) (string, error) {
	plain := strings.ToLower(strings.ReplaceAll(text, ":", ""))
	if sum, err := hex.DecodeString(plain); err != nil || len(sum) != 32 {
		return "", errors.New("must be a SHA-256 fingerprint: 64 hexadecimal digits, with or without colons")
	}
	return plain, nil
}

// entry reads key=value.
func entry(what string, key, value func(string) (string, error)) func(string) (string, error) {
	return func(text string) (string, error) {
		k, v, ok := strings.Cut(text, "=")
		if !ok {
			return "", fmt.Errorf("must be %s=value", what)
		}
		k, err := key(strings.TrimSpace(k))
		if err != nil {
			return "", fmt.Errorf("has a wrong %s: it %w", what, err)
		}
		v, err = value(strings.TrimSpace(v))
		if err != nil {
			return "", fmt.Errorf("has a wrong value: it %w", err)
		}
		return k + "=" + v, nil
	}
}

// Entries returns what stands in a list of key=value.
func Entries(list []string) map[string]string {
	m := make(map[string]string, len(list))
	for _, e := range list {
		k, v, _ := strings.Cut(e, "=")
		m[k] = v
	}
	return m
}

// ReadRule is an entry of access.read.
type ReadRule struct {
	Deny            bool
	Readers, People []string
}

func readReadRule(text string) (string, error) {
	if _, err := parseReadRule(text); err != nil {
		return "", err
	}
	return strings.Join(strings.Fields(text), " "), nil
}

func parseReadRule(text string) (ReadRule, error) {
	wrong := errors.New("must be allow READERS > PEOPLE, or deny READERS > PEOPLE")
	words := strings.Fields(text)
	if len(words) < 4 || words[0] != "allow" && words[0] != "deny" {
		return ReadRule{}, wrong
	}
	rule := ReadRule{Deny: words[0] == "deny"}
	into := &rule.Readers
	for _, word := range words[1:] {
		if word != ">" {
			*into = append(*into, word)
			continue
		}
		if into == &rule.People {
			return ReadRule{}, wrong
		}
		into = &rule.People
	}
	if len(rule.Readers) == 0 || len(rule.People) == 0 {
		return ReadRule{}, wrong
	}
	return rule, nil
}

// Restricts says whether any rule is about what people do once they are signed in.
func (a Access) Restricts() bool {
	return a.ReadNobody || len(a.Read)+len(a.PublishAllow)+len(a.PublishDeny) > 0
}

// ReadRules returns access.read.
func (a Access) ReadRules() []ReadRule {
	rules := make([]ReadRule, 0, len(a.Read))
	for _, text := range a.Read {
		if rule, err := parseReadRule(text); err == nil { // the form was checked
			rules = append(rules, rule)
		}
	}
	return rules
}
