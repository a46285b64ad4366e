package manifests

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// portOf is the container port that a Service, or a policy, means.
func portOf(r *release, selector map[string]string, port intstr.IntOrString) int32 {
	pod := meant(r, matching(selector))
	if pod == nil {
		return 0
	}
	for _, c := range containers(r) {
		for _, p := range c.Ports {
			if c.pod == pod && (p.Name == port.StrVal && port.Type == intstr.String || p.ContainerPort == port.IntVal && port.Type == intstr.Int) {
				return p.ContainerPort
			}
		}
	}
	return 0
}

const (
	clientPort   = 8080
	internalPort = 9090
)

func services(t testing.TB, r *release) (broken []string) {
	affinity, why := corev1.ServiceAffinityClientIP, " sends a client to any replica"
	if shared(t, r) {
		affinity, why = corev1.ServiceAffinityNone, " keeps a client at one replica, and any would do"
	}
	for _, s := range all[*corev1.Service](r) {
		internal := strings.HasSuffix(s.Name, "-metrics")
		for _, p := range s.Spec.Ports {
			switch port := portOf(r, s.Spec.Selector, p.TargetPort); {
			case port == 0:
				broken = append(broken, fmt.Sprintf("%s leads to %s, which is no port of its pods", s.Name, p.TargetPort.String()))
			case internal != (port == internalPort):
				broken = append(broken, fmt.Sprintf("%s leads to %d", s.Name, port))
			}
		}
		if s.Spec.SessionAffinity == "" {
			s.Spec.SessionAffinity = corev1.ServiceAffinityNone // as Kubernetes does
		}
		switch {
		case s.Spec.Type != corev1.ServiceTypeClusterIP:
			broken = append(broken, s.Name+" can be reached from outside")
		case internal && s.Spec.ClusterIP != corev1.ClusterIPNone:
			broken = append(broken, s.Name+" shows one replica in place of all")
		case !internal && s.Name != redisName && s.Spec.SessionAffinity != affinity:
			broken = append(broken, s.Name+why)
		}
	}
	return broken
}

// policy holds a NetworkPolicy against what a gateway needs.
func policy(t testing.TB, r *release) (broken []string) {
	redis := redisPorts(t, r)
	for _, p := range all[*networkingv1.NetworkPolicy](r) {
		wrong := func(what string, args ...any) { broken = append(broken, p.Name+": "+fmt.Sprintf(what, args...)) }
		for _, direction := range []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress} {
			if !slices.Contains(p.Spec.PolicyTypes, direction) {
				wrong("says nothing about %s", direction)
			}
		}
		admitted := map[int32]bool{}
		for _, rule := range p.Spec.Ingress {
			if len(rule.From) == 0 || len(rule.Ports) == 0 {
				wrong("admits everybody, or to everything")
			}
			for _, from := range rule.From {
				if from.NamespaceSelector != nil && len(from.NamespaceSelector.MatchLabels)+len(from.NamespaceSelector.MatchExpressions) == 0 {
					wrong("admits every namespace")
				}
			}
			for _, port := range rule.Ports {
				admitted[portOf(r, p.Spec.PodSelector.MatchLabels, *port.Port)] = true
			}
		}
		if p.Name == redisName {
			continue // redisRules
		}
		if len(admitted) != 2 || !admitted[clientPort] || !admitted[internalPort] {
			wrong("admits to %v", admitted)
		}
		way := map[string]bool{}
		for _, rule := range p.Spec.Egress {
			if len(rule.Ports) == 0 {
				wrong("lets out to every port")
			}
			for _, port := range rule.Ports {
				way[fmt.Sprintf("%s %s", *port.Protocol, port.Port)] = true
				if len(rule.To) == 0 && port.Port.IntValue() != 53 {
					wrong("lets out to everybody's port %s", port.Port)
				}
				if port.Port.IntValue() == 443 && !internetOnly(rule.To) {
					wrong("lets out to the networks of the company")
				}
			}
		}
		needed := map[string]bool{"UDP 53": true, "TCP 53": true, "TCP 443": true}
		for _, port := range redis {
			needed["TCP "+port] = true
		}
		if !maps.Equal(way, needed) {
			wrong("lets out to %v", way)
		}
	}
	return broken
}

// internetOnly says whether nothing but public addresses is admitted, those of
// Graph among them.
func internetOnly(peers []networkingv1.NetworkPolicyPeer) bool {
	admits := func(address string) bool {
		addr := netip.MustParseAddr(address)
		return slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool {
			within := func(network string) bool {
				prefix, err := netip.ParsePrefix(network)
				return err == nil && prefix.Contains(addr)
			}
			return p.IPBlock != nil && within(p.IPBlock.CIDR) && !slices.ContainsFunc(p.IPBlock.Except, within)
		})
	}
	for _, private := range []string{"10.1.2.3", "172.20.0.1", "192.168.1.1", "169.254.169.254", "fd00::1", "fe80::1"} {
		if admits(private) {
			return false
		}
	}
	return admits("20.190.128.1") && admits("2603:1000::1")
}

var networkRules = []rule{
	{
		name:  "a Service leads to a port that is there, and never clients to metrics",
		check: services,
		broken: map[string]func(*release){
			"the port is not there":           func(r *release) { all[*corev1.Service](r)[0].Spec.Ports[0].TargetPort = intstr.FromString("web") },
			"clients come to metrics":         func(r *release) { all[*corev1.Service](r)[0].Spec.Ports[0].TargetPort = intstr.FromString("internal") },
			"metrics are those of one":        func(r *release) { all[*corev1.Service](r)[1].Spec.ClusterIP = "" },
			"a client comes to any replica":   func(r *release) { all[*corev1.Service](r)[0].Spec.SessionAffinity = "" },
			"everybody can reach the metrics": func(r *release) { all[*corev1.Service](r)[1].Spec.Type = corev1.ServiceTypeLoadBalancer },
		},
	},
	{
		name:  "the network admits clients and monitoring, and lets out to DNS, Graph and Redis only",
		check: policy,
		broken: map[string]func(*release){
			"everybody is admitted":        func(r *release) { networks(r).Ingress[0].From = nil },
			"every namespace is":           func(r *release) { networks(r).Ingress[0].From[0].NamespaceSelector.MatchLabels = nil },
			"to everything":                func(r *release) { networks(r).Ingress[0].Ports = nil },
			"monitoring is not":            func(r *release) { networks(r).Ingress = networks(r).Ingress[:1] },
			"the port has another name":    func(r *release) { *networks(r).Ingress[0].Ports[0].Port = intstr.FromString("web") },
			"it may go anywhere":           func(r *release) { networks(r).Egress[1].Ports = nil },
			"it may go inside":             func(r *release) { networks(r).Egress[1].To[0].IPBlock.Except = nil },
			"it may not go to Graph":       func(r *release) { networks(r).Egress = networks(r).Egress[:1] },
			"nothing is said about egress": func(r *release) { networks(r).PolicyTypes = networks(r).PolicyTypes[:1] },
		},
	},
}

func networks(r *release) *networkingv1.NetworkPolicySpec {
	return &all[*networkingv1.NetworkPolicy](r)[0].Spec
}
