package manifests

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/gateway/session"
)

const annotation = "nginx.ingress.kubernetes.io/"

// location is the Ingress that a request comes to: the controller tries the
// longest path first, as an expression that begins where the path does and does
// not look at case.
func location(r *release, host, path string) *networkingv1.Ingress {
	var found *networkingv1.Ingress
	longest := 0
	for _, i := range all[*networkingv1.Ingress](r) {
		for _, rule := range i.Spec.Rules {
			for _, p := range rule.HTTP.Paths {
				matched, err := regexp.MatchString("(?i)^"+p.Path, path)
				if rule.Host == host && err == nil && matched && len(p.Path) > longest {
					found, longest = i, len(p.Path)
				}
			}
		}
	}
	return found
}

// hosts are those of the TLS sections, by Ingress.
func hosts(i *networkingv1.Ingress) (list []string) {
	for _, s := range i.Spec.TLS {
		list = append(list, s.Hosts...)
	}
	return list
}

func ingressReferences(t testing.TB, r *release) (broken []string) {
	for _, i := range all[*networkingv1.Ingress](r) {
		for _, rule := range i.Spec.Rules {
			if !slices.Contains(hosts(i), rule.Host) {
				broken = append(broken, i.Name+": there is no certificate for "+rule.Host)
			}
			for _, p := range rule.HTTP.Paths {
				b := p.Backend.Service
				s, ok := named[*corev1.Service](r, b.Name)
				if !ok || strings.HasSuffix(b.Name, "-metrics") || !slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == b.Port.Name }) {
					broken = append(broken, fmt.Sprintf("%s: %s leads to %s, port %s", i.Name, p.Path, b.Name, b.Port.Name))
				}
				if p.PathType == nil || *p.PathType != networkingv1.PathTypeImplementationSpecific {
					broken = append(broken, i.Name+": "+p.Path+" is no expression")
				}
			}
		}
	}
	if len(all[*networkingv1.Ingress](r)) == 0 {
		return broken
	}
	return append(broken, eachConfiguration(func(c container, cfg config.Config) string {
		if host := strings.TrimPrefix(cfg.Server.PublicURL, "https://"); !c.sidecar && location(r, host, "/") == nil {
			return "has links that lead to " + cfg.Server.PublicURL + ", which no Ingress knows"
		}
		return ""
	})(t, r)...)
}

// ingressTimes asks where requests of each sort end up, at every host.
func ingressTimes(t testing.TB, r *release) (broken []string) {
	replica := "$remote_addr"
	if shared(t, r) {
		replica = "" // any
	}
	held := fmt.Sprintf("%.0f", (session.MaxTimer + 30*time.Second).Seconds())
	for _, i := range all[*networkingv1.Ingress](r) {
		for _, host := range hosts(i) {
			for path, readTimeout := range map[string]string{
				"/": "30",
				"/Autodiscover/AutodiscoverService.svc/root": "30",
				"/WebTicket/oauthtoken":                      "30",
				"/ucwa/v1/applications/1a2b/me":              "30",
				"/ucwa/v1/applications/1a2b/events/more":     "30",
				"/ucwa/v1/applications/1a2b/events":          held,
				"/ucwa/oauth/v1/applications/1a2b/events":    held,
			} {
				at := location(r, host, path)
				if at == nil {
					broken = append(broken, host+path+" leads nowhere")
					continue
				}
				say := func(name, value string) {
					if got := at.Annotations[annotation+name]; got != value {
						broken = append(broken, fmt.Sprintf("%s: %s%s has %s %q", at.Name, host, path, name, got))
					}
				}
				say("proxy-read-timeout", readTimeout)
				say("use-regex", "true")
				say("upstream-hash-by", replica)
				say("proxy-next-upstream-timeout", "5")
				if readTimeout == held {
					say("proxy-buffering", "off")
				}
				redirect := ""
				if discovery := path == "/" || strings.HasSuffix(path, "/root"); discovery && strings.HasPrefix(host, "lyncdiscover") {
					redirect = "false"
				}
				say("ssl-redirect", redirect)
			}
		}
	}
	return broken
}

var ingressRules = []rule{
	{
		name:  "an Ingress leads to the Service of clients, and has certificates for its hosts",
		check: ingressReferences,
		broken: map[string]func(*release){
			"the Service has another name": eachIngressPath(func(p *networkingv1.HTTPIngressPath) { p.Backend.Service.Name = "gateway" }),
			"it is that of metrics":        eachIngressPath(func(p *networkingv1.HTTPIngressPath) { p.Backend.Service.Name = "ucwagate-metrics" }),
			"the port has another name":    eachIngressPath(func(p *networkingv1.HTTPIngressPath) { p.Backend.Service.Port.Name = "https" }),
			"a certificate is missing":     func(r *release) { all[*networkingv1.Ingress](r)[0].Spec.TLS = nil },
			"links lead to another host":   configured(0, "https://ucwa.example.com", "https://ucwa.example.org"),
			"a path is no expression": eachIngressPath(func(p *networkingv1.HTTPIngressPath) {
				exact := networkingv1.PathTypeExact
				p.PathType = &exact
			}),
		},
	},
	{
		name:  "requests for events are held, all others end, and discovery needs no HTTPS",
		check: ingressTimes,
		broken: map[string]func(*release){
			"they end sooner":         annotated("ucwagate-events", "proxy-read-timeout", "60"),
			"they are buffered":       annotated("ucwagate-events", "proxy-buffering", "on"),
			"others are held":         annotated("ucwagate", "proxy-read-timeout", "1830"),
			"paths are no expression": annotated("ucwagate-discovery", "use-regex", "false"),
			"a client comes to any":   annotated("ucwagate", "upstream-hash-by", ""),
			"discovery is redirected": annotated("ucwagate-discovery", "ssl-redirect", "true"),
			"nothing is":              annotated("ucwagate", "ssl-redirect", "false"),
			"the path has a slip":     eachIngressPath(func(p *networkingv1.HTTPIngressPath) { p.Path = strings.Replace(p.Path, "events$", "event$", 1) }),
		},
	},
}

func eachIngressPath(change func(p *networkingv1.HTTPIngressPath)) func(*release) {
	return func(r *release) {
		for _, i := range all[*networkingv1.Ingress](r) {
			for _, rule := range i.Spec.Rules {
				for at := range rule.HTTP.Paths {
					change(&rule.HTTP.Paths[at])
				}
			}
		}
	}
}

func annotated(ingress, name, value string) func(*release) {
	return func(r *release) {
		if i, ok := named[*networkingv1.Ingress](r, ingress); ok {
			i.Annotations[annotation+name] = value
		}
	}
}
