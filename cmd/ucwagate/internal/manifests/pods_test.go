package manifests

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ucwagate/cmd/ucwagate/internal/config"
)

// eachPod makes a rule about what makes pods of one about a single one.
func eachPod(check func(r *release, w workload) string) func(testing.TB, *release) []string {
	return func(_ testing.TB, r *release) (broken []string) {
		for _, w := range workloads(r) {
			if wrong := check(r, w); wrong != "" {
				broken = append(broken, w.name+" "+wrong)
			}
		}
		return broken
	}
}

var podRules = []rule{
	{
		name: "no pod shares anything with its node",
		check: eachPod(func(_ *release, w workload) string {
			s := w.pod.Spec
			if s.HostNetwork || s.HostPID || s.HostIPC {
				return "shares a namespace"
			}
			for _, v := range s.Volumes {
				if v.HostPath != nil {
					return "mounts " + v.HostPath.Path
				}
			}
			for _, c := range append(s.InitContainers, s.Containers...) {
				for _, p := range c.Ports {
					if p.HostPort != 0 {
						return fmt.Sprintf("takes the port %d", p.HostPort)
					}
				}
			}
			return ""
		}),
		broken: map[string]func(*release){
			"it has the node's network": first(func(c container) { c.pod.Spec.HostNetwork = true }),
			"it mounts a folder": first(func(c container) {
				c.pod.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/etc"}}
			}),
			"it takes a port": second(func(c container) { c.Ports[0].HostPort = 9090 }),
		},
	},
	{
		name: "no pod has a token for Kubernetes",
		check: eachPod(func(r *release, w workload) string {
			s := w.pod.Spec
			account, ok := named[*corev1.ServiceAccount](r, s.ServiceAccountName)
			switch {
			case !ok:
				return "has no ServiceAccount of its own"
			case s.AutomountServiceAccountToken == nil || *s.AutomountServiceAccountToken:
				return "mounts a token"
			case account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken:
				return "has a ServiceAccount whose token is mounted elsewhere"
			}
			return ""
		}),
		broken: map[string]func(*release){
			"the pod does not say so":           first(func(c container) { c.pod.Spec.AutomountServiceAccountToken = nil }),
			"the ServiceAccount does not":       func(r *release) { all[*corev1.ServiceAccount](r)[0].AutomountServiceAccountToken = nil },
			"the ServiceAccount is not there":   first(func(c container) { c.pod.Spec.ServiceAccountName = "nobody" }),
			"it has that of the namespace then": second(func(c container) { c.pod.Spec.ServiceAccountName = "" }),
		},
	},
	{
		name: "no pod hears of the Services beside it",
		check: eachPod(func(_ *release, w workload) string {
			if links := w.pod.Spec.EnableServiceLinks; links == nil || *links {
				return "gets variables such as UCWAGATE_SERVICE_HOST"
			}
			return ""
		}),
		broken: map[string]func(*release){"it is not said": first(func(c container) { c.pod.Spec.EnableServiceLinks = nil })},
	},
	{
		name: "an update takes nobody away before the next is there",
		check: eachPod(func(_ *release, w workload) string {
			if w.deployment == nil {
				return "" // a single Redis
			}
			s := w.deployment.Spec.Strategy
			if s.Type == appsv1.RecreateDeploymentStrategyType {
				return "" // whoever asks for it knows
			}
			if s.RollingUpdate == nil || s.RollingUpdate.MaxUnavailable == nil || s.RollingUpdate.MaxUnavailable.String() != "0" ||
				s.RollingUpdate.MaxSurge == nil || s.RollingUpdate.MaxSurge.String() != "1" {
				return "is not updated with maxUnavailable 0 and maxSurge 1"
			}
			return ""
		}),
		broken: map[string]func(*release){
			"one may be missing": first(func(c container) { *c.deployment.Spec.Strategy.RollingUpdate.MaxUnavailable = intstr.FromInt32(1) }),
			"nothing is said":    second(func(c container) { c.deployment.Spec.Strategy = appsv1.DeploymentStrategy{} }),
		},
	},
	{
		name: "no port is taken twice in a pod",
		check: func(t testing.TB, r *release) (broken []string) {
			taken := map[*corev1.PodTemplateSpec]map[int32]string{}
			take := func(c container, port int32) {
				if taken[c.pod] == nil {
					taken[c.pod] = map[int32]string{}
				}
				if other, there := taken[c.pod][port]; there {
					broken = append(broken, fmt.Sprintf("%s and %s listen at %d", other, c, port))
				}
				taken[c.pod][port] = c.String()
			}
			for _, c := range containers(r) {
				if c.Name != "ucwagate" {
					for _, p := range c.Ports {
						take(c, p.ContainerPort)
					}
				}
			}
			// Where a gateway listens, said or not.
			eachConfiguration(func(c container, cfg config.Config) string {
				for _, address := range []string{cfg.Server.Listen, cfg.Internal.Listen} {
					_, port := listener(address)
					take(c, port)
				}
				return ""
			})(t, r)
			return broken
		},
		broken: map[string]func(*release){
			"the application wants that of the gateway": func(r *release) { application(r).Ports[0].ContainerPort = 8080 },
			"it wants that of the probes":               func(r *release) { application(r).Ports[0].ContainerPort = 9090 },
		},
	},
	{
		name: "pods of a gateway are spread over nodes and zones",
		check: eachPod(func(_ *release, w workload) string {
			if len(w.pod.Spec.InitContainers) > 0 || w.deployment == nil {
				return "" // the application's to decide, and there is one Redis
			}
			keys := map[string]bool{}
			for _, s := range w.pod.Spec.TopologySpreadConstraints {
				keys[s.TopologyKey] = s.MaxSkew == 1
			}
			if !keys["kubernetes.io/hostname"] || !keys["topology.kubernetes.io/zone"] {
				return "may have all its pods in one place"
			}
			return ""
		}),
		broken: map[string]func(*release){
			"nothing is said":            first(func(c container) { c.pod.Spec.TopologySpreadConstraints = nil }),
			"a node may have three more": first(func(c container) { c.pod.Spec.TopologySpreadConstraints[0].MaxSkew = 3 }),
		},
	},
}

// application is the one beside a sidecar.
func application(r *release) container {
	for _, c := range containers(r) {
		if c.Name == "application" {
			return c
		}
	}
	return container{}
}
