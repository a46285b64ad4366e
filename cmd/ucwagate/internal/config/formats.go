package config

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// formats are the forms that a text may be required to have. Each returns the
// canonical form, or an error that says what the text must be. Empty texts do
// not come here.
var formats = map[string]func(string) (string, error){
	"listen":    readListen,
	"origin":    readOrigin,
	"host":      readHost,
	"domain":    readDomain,
	"guid":      readGUID,
	"label":     readLabel,
	"word":      readToken,
	"graph":     readGraphURL,
	"authority": readAuthority,
	"hook":      readHook,

	"endpoint":          readEndpoint,
	"listen_or_socket":  readListenOrSocket,
	"callback":          readCallback,
	"collector":         readCollector,
	"address":           readAddress,
	"app_entry":         entry("application id", readGUID, readAddress),
	"domain_entry":      entry("NetBIOS domain", readToken, readDomain),
	"group_entry":       entry("name", readLabel, readAbsolute),
	"fingerprint":       readFingerprint,
	"fingerprint_entry": entry("fingerprint", readFingerprint, readAddress),
	"certificate_field": func(text string) (string, error) {
		return readWord(text, []string{"email", "upn", "cn"}, "must be email, upn or cn")
	},
	"read_rule": readReadRule,
	"file":      func(text string) (string, error) { return text, nil }, // opened later, by the rules
	"path":      func(text string) (string, error) { return text, nil }, // of a file that may be missing
}

var (
	labelForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	guidForm  = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	hostForm  = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$`)
)

func readListen(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", errors.New("must be host:port, such as 127.0.0.1:8080, [::1]:8080 or :8080")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "", errors.New("must end in a port from 0 to 65535")
	}
	if _, err := netip.ParseAddr(host); host != "" && err != nil && !isHost(strings.ToLower(host)) {
		return "", errors.New("must begin with an IP address, a host name, or nothing")
	}
	return text, nil
}

func readHost(text string) (string, error) {
	if _, err := netip.ParseAddr(text); err != nil && !isHost(strings.ToLower(text)) {
		return "", errors.New("must be a host name")
	}
	return text, nil
}

func isHost(text string) bool { return len(text) <= 253 && hostForm.MatchString(text) }

func readDomain(text string) (string, error) {
	text = strings.ToLower(text)
	if _, err := netip.ParseAddr(text); err == nil || !isHost(text) {
		return "", errors.New("must be a domain name such as contoso.com (international names in their xn-- form)")
	}
	return text, nil
}

func readGUID(text string) (string, error) {
	text = strings.ToLower(text)
	if !guidForm.MatchString(text) {
		return "", errors.New("must be a GUID")
	}
	return text, nil
}

func readLabel(text string) (string, error) {
	if !labelForm.MatchString(text) {
		return "", errors.New("must be 1 to 63 letters, digits, dots, hyphens or underscores, beginning with a letter or digit")
	}
	return text, nil
}

func readToken(text string) (string, error) {
	if text == "" || strings.ContainsFunc(text, unicode.IsSpace) {
		return "", errors.New("must be a text without spaces")
	}
	return text, nil
}

// readOrigin reads a scheme and a host, to which paths are appended.
func readOrigin(text string) (string, error) {
	u, err := readURL(text, "http", "https")
	if err != nil {
		return "", err
	}
	if u.Path != "" {
		return "", errors.New("must be a scheme and a host without a path")
	}
	return u.String(), nil
}

// readGraphURL reads the root to which the version is appended. Tokens travel
// to it, so only a loopback address goes without TLS.
func readGraphURL(text string) (string, error) {
	u, err := readURL(text, "http", "https")
	if err != nil {
		return "", err
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return "", errors.New("must be https, except on a loopback address")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	for _, version := range []string{"/v1.0", "/beta"} {
		if strings.HasSuffix(u.Path, version) {
			return "", errors.New("must be the root of Graph, without " + version)
		}
	}
	return u.String(), nil
}

// readAuthority reads the authority; the Azure SDK accepts https alone.
func readAuthority(text string) (string, error) {
	u, err := readURL(text, "https")
	if err != nil {
		return "", err
	}
	if strings.Trim(u.Path, "/") != "" {
		return "", errors.New("must be a scheme and a host without a path")
	}
	u.Path = ""
	return u.String(), nil
}

// readCollector reads the URL of a collector. They mostly run beside what they
// collect from, without TLS.
func readCollector(text string) (string, error) {
	u, err := readURL(text, "http", "https")
	if err != nil {
		return "", err
	}
	if u.Path = strings.TrimRight(u.Path, "/"); u.Path == "" {
		u.Path = "/v1/traces"
	}
	return u.String(), nil
}

// readHook reads the URL at which Graph delivers; it accepts https alone.
func readHook(text string) (string, error) {
	u, err := readURL(text, "https")
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

// readURL reads an absolute URL that others can be built upon. Its errors do
// not quote the parser's, which quote the URL.
func readURL(text string, schemes ...string) (*url.URL, error) {
	want := errors.New("must be a URL that begins with " + strings.Join(schemes, ":// or ") + "://")
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Hostname() == "" {
		return nil, want
	}
	if _, err := readWord(u.Scheme, schemes, ""); err != nil {
		return nil, want
	}
	if _, err := readHost(u.Hostname()); err != nil {
		return nil, errors.New("must have a host name or an IP address")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, errors.New("must have a port from 1 to 65535, or none")
		}
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(text, "#") {
		return nil, errors.New("must have no user, query or fragment")
	}
	u.Host = strings.ToLower(strings.TrimSuffix(u.Host, ":"))
	return u, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() || strings.EqualFold(host, "localhost")
}
