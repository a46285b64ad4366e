package xframe

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// normalizeOrigin returns an origin as browsers write it in events: lower
// case, no default port, no slash. It accepts only what the grammar of
// Content-Security-Policy accepts as a host (letters, digits and hyphens
// between dots): anything else would be dropped by some browsers, or could
// write directives of its own.
func normalizeOrigin(text string) (string, error) {
	if strings.Contains(text, "*") {
		return "", errors.New("patterns are not supported: list each origin")
	}
	u, err := url.Parse(strings.ToLower(strings.TrimSpace(text)))
	if err != nil {
		return "", errors.New("not a URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return "", errors.New("the scheme has to be http or https, as in https://app.example.com")
	}
	if u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" {
		return "", errors.New("an origin is a scheme, a host and a port, and nothing more")
	}
	if err := checkHost(u.Hostname()); err != nil {
		return "", err
	}
	port := u.Port()
	if port == "" {
		return u.Scheme + "://" + u.Hostname(), nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", errors.New("the port has to be from 1 to 65535")
	}
	if u.Scheme == "http" && n == 80 || u.Scheme == "https" && n == 443 {
		return u.Scheme + "://" + u.Hostname(), nil
	}
	return u.Scheme + "://" + net.JoinHostPort(u.Hostname(), strconv.FormatUint(n, 10)), nil
}

// checkHost accepts names and IPv4 addresses. Names in other scripts have to
// be given in their xn-- form, which is what browsers report.
func checkHost(host string) error {
	if host == "" {
		return errors.New("the host is missing")
	}
	if strings.Contains(host, ":") {
		return errors.New("a Content-Security-Policy cannot name IPv6 addresses: use a host name")
	}
	if len(host) > 253 {
		return errors.New("the host is too long")
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" {
			return errors.New("the host has an empty part")
		}
		for _, c := range label {
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
				return errors.New("the host may have ASCII letters, digits, hyphens and dots only: a Content-Security-Policy cannot name others")
			}
		}
	}
	return nil
}
