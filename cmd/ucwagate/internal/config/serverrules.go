package config

import (
	"net"
	"slices"
	"strings"
)

// checkServer wants the listener to be what it says.
func (r *rules) checkServer() {
	s := r.config.Server
	const cert, key, redirect = "server.certificate_file", "server.key_file", "server.redirect_listen"
	if !r.ok(cert, key, redirect) {
		return
	}
	switch {
	case s.CertFile != "" && s.KeyFile == "":
		r.wrong(key, "is required with certificate_file")
	case s.CertFile == "" && s.KeyFile != "":
		r.wrong(cert, "is required with key_file")
	case s.CertFile == "" && s.RedirectListen != "":
		r.wrong(redirect, "has no effect without certificate_file: there is no HTTPS to send clients to")
	}
	if at := "server.trusted_socket"; s.TrustedSocket && r.ok(at, "server.listen") && !strings.HasPrefix(s.Listen, socketPrefix) {
		r.wrong(at, "needs a socket: listen is %s", quote(s.Listen))
	}
	for _, other := range []struct{ key, address string }{{redirect, s.RedirectListen}, {"internal.listen", r.config.Internal.Listen}} {
		if r.ok("server.listen", other.key) && other.address == s.Listen && !strings.HasSuffix(s.Listen, ":0") {
			r.wrong(other.key, "is %s, as server.listen is", quote(s.Listen))
		}
	}
	for _, p := range s.TrustedProxies {
		if p.Bits() == 0 {
			const at = "server.trusted_proxies"
			r.warn(at, "names everybody: who reaches the gateway chooses the host of links, and the address by which wrong passwords are counted")
		}
	}
	r.readable(cert, s.CertFile)
	r.readable(key, s.KeyFile)
}

// served warns of an address, or a domain, that belongs to no tenant.
func (r *rules) served(key, text string) {
	domain := strings.ToLower(text[strings.LastIndexByte(text, '@')+1:])
	ours := func(t Tenant) bool { return slices.Contains(t.Domains, domain) }
	if text == "" || !r.ok(key, "tenants") || slices.ContainsFunc(r.config.Tenants, ours) {
		return
	}
	r.warn(key, "is of no domain in tenants[].domains: whoever is signed in as that is refused")
}

// checkTransports wants what makes an identity of a connection worth believing.
func (r *rules) checkTransports() {
	s, listen := r.config.SignIn, r.config.Server.Listen
	socket := strings.HasPrefix(listen, socketPrefix)
	if at := "signin.proxy"; len(s.Proxy.Headers) > 0 && r.ok(at+".trusted", at+".trusted_socket", "server.listen") {
		if len(s.Proxy.Trusted) == 0 && !s.Proxy.TrustedSocket {
			r.wrong(at+".trusted", "is required with headers: anybody could state who they are (%s)", envName(at+".trusted"))
		}
		if s.Proxy.TrustedSocket && !socket {
			r.wrong(at+".trusted_socket", "needs a socket: server.listen is %s", quote(listen))
		}
	}
	if at := "signin.certificates"; s.Certificates.CAFile != "" && r.ok(at+".fields", at+".fingerprints", "server.certificate_file") {
		if r.config.Server.CertFile == "" {
			r.wrong(at+".ca_file", "needs server.certificate_file: only HTTPS has client certificates")
		}
		if len(s.Certificates.Fields)+len(s.Certificates.Fingerprints) == 0 {
			r.wrong(at+".fields", "is required with ca_file, or fingerprints: nothing says who a certificate is (%s)", envName(at+".fields"))
		}
	}
	if at := "signin.fixed.address"; s.Fixed.Address != "" && r.ok(at, "server.listen") && !socket {
		if host, _, err := net.SplitHostPort(listen); err != nil || !isLoopback(host) {
			r.wrong(at, "needs server.listen to be a loopback address or a socket, not %s: everybody who reaches it would be that user", quote(listen))
		}
	}
}
