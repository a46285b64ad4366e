package ucwaapi

import (
	"net/http"
	"net/url"
	"strings"

	"ucwagate/ucwaapi/representation"
)

// root is where every client begins: on lyncdiscover.{domain}, on
// lyncdiscoverinternal.{domain}, or on a fixed host with ?originalDomain=.
func (s *Server) root(k *call) error {
	base := s.origin.of(k.Request()) + discoveryPath
	query := "?originalDomain=" + url.QueryEscape(s.originalDomain(k))
	return s.sendDiscovery(k, representation.New("root", base+"/root"+query).
		Link("user", base+"/root/oauth/user"+query).
		Link("xframe", s.origin.of(k.Request())+xframePath))
}

// user tells a signed-in client where to create applications. Its self link
// ends in /root/user whichever path was used, like the real server's.
func (s *Server) user(k *call) error {
	base := s.origin.of(k.Request())
	return s.sendDiscovery(k, representation.New("user", base+discoveryPath+"/root/user").
		LinkRevision("applications", base+applicationsPath, "2").
		Link("xframe", base+xframePath))
}

// xframe serves the page that web clients load in a hidden frame.
func (s *Server) xframe(k *call) error {
	s.header.common(k.Response().Header())
	s.frame.ServeHTTP(k.Response(), k.Request())
	return nil
}

func (s *Server) sendDiscovery(k *call, r *representation.Resource) error {
	s.header.uncached(k.Response().Header())
	k.format = k.format.Discovery()
	return s.send(k, http.StatusOK, r)
}

// originalDomain is the SIP domain a client asks for: in the query, or in the
// host name, or else the one the gateway serves first.
func (s *Server) originalDomain(k *call) string {
	in, err := representation.ParseInput(k.Request().URL.RawQuery, "", nil)
	if err == nil {
		if d, ok := in.String("originalDomain"); ok && validHost(d) {
			return strings.ToLower(d)
		}
	}
	_, host, _ := strings.Cut(strings.ToLower(s.origin.of(k.Request())), "://")
	host, _, _ = strings.Cut(host, ":")
	for _, label := range []string{"lyncdiscover.", "lyncdiscoverinternal."} {
		if d, ok := strings.CutPrefix(host, label); ok && validHost(d) {
			return d
		}
	}
	return s.domain
}
