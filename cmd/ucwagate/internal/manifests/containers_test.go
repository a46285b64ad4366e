package manifests

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// eachContainer makes a rule about containers of one about a container.
func eachContainer(check func(c container) string) func(testing.TB, *release) []string {
	return func(_ testing.TB, r *release) (broken []string) {
		for _, c := range containers(r) {
			if wrong := check(c); wrong != "" {
				broken = append(broken, c.String()+" "+wrong)
			}
		}
		return broken
	}
}

// first changes the gateway that stands alone, beside the change of the one that is a sidecar.
func first(change func(c container)) func(*release) {
	return func(r *release) { change(gateways(r)[0]) }
}

// second changes the gateway that is a sidecar.
func second(change func(c container)) func(*release) {
	return func(r *release) { change(gateways(r)[1]) }
}

var containerRules = []rule{
	{
		name: "nobody is root, and everybody has a fixed user",
		check: eachContainer(func(c container) string {
			pod, own := c.pod.Spec.SecurityContext, c.SecurityContext
			if pod == nil {
				pod = &corev1.PodSecurityContext{}
			}
			if own == nil {
				own = &corev1.SecurityContext{}
			}
			nonRoot, user, group := pod.RunAsNonRoot, pod.RunAsUser, pod.RunAsGroup
			if own.RunAsNonRoot != nil {
				nonRoot = own.RunAsNonRoot
			}
			if own.RunAsUser != nil {
				user = own.RunAsUser
			}
			if own.RunAsGroup != nil {
				group = own.RunAsGroup
			}
			if nonRoot == nil || !*nonRoot || user == nil || *user == 0 || group == nil || *group == 0 {
				return "may run as root, or as whoever the image says"
			}
			return ""
		}),
		broken: map[string]func(*release){
			"a container may be root":           first(func(c container) { c.pod.Spec.SecurityContext.RunAsNonRoot = nil }),
			"the user is the image's":           first(func(c container) { c.pod.Spec.SecurityContext.RunAsUser = nil }),
			"the group is root's":               first(func(c container) { c.pod.Spec.SecurityContext.RunAsGroup = new(int64) }),
			"a container goes before its pod":   second(func(c container) { c.SecurityContext.RunAsNonRoot = new(bool) }),
			"a container has a user of its own": second(func(c container) { c.SecurityContext.RunAsUser = new(int64) }),
		},
	},
	{
		name: "no root file system can be written to",
		check: eachContainer(func(c container) string {
			if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
				return "may write to its root file system"
			}
			return ""
		}),
		broken: map[string]func(*release){
			"it is not said":    first(func(c container) { c.SecurityContext.ReadOnlyRootFilesystem = nil }),
			"the sidecar's can": second(func(c container) { c.SecurityContext.ReadOnlyRootFilesystem = new(bool) }),
		},
	},
	{
		name: "nobody has capabilities, nor ways to get them",
		check: eachContainer(func(c container) string {
			s := c.SecurityContext
			switch {
			case s == nil || s.Capabilities == nil || !slices.Contains(s.Capabilities.Drop, "ALL") || len(s.Capabilities.Add) > 0:
				return "keeps capabilities"
			case s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation:
				return "may gain privileges"
			case s.Privileged != nil && *s.Privileged:
				return "is privileged"
			}
			return ""
		}),
		broken: map[string]func(*release){
			"only some are dropped":    first(func(c container) { c.SecurityContext.Capabilities.Drop = []corev1.Capability{"NET_RAW"} }),
			"one is added":             second(func(c container) { c.SecurityContext.Capabilities.Add = []corev1.Capability{"NET_BIND_SERVICE"} }),
			"escalation is not denied": first(func(c container) { c.SecurityContext.AllowPrivilegeEscalation = nil }),
			"a container is privileged": first(func(c container) {
				yes := true
				c.SecurityContext.Privileged = &yes
			}),
		},
	},
	{
		name: "system calls are filtered",
		check: eachContainer(func(c container) string {
			var profile *corev1.SeccompProfile
			if pod := c.pod.Spec.SecurityContext; pod != nil {
				profile = pod.SeccompProfile
			}
			if c.SecurityContext != nil && c.SecurityContext.SeccompProfile != nil {
				profile = c.SecurityContext.SeccompProfile
			}
			if profile == nil || profile.Type != corev1.SeccompProfileTypeRuntimeDefault {
				return "may use every system call"
			}
			return ""
		}),
		broken: map[string]func(*release){
			"the pod says nothing": first(func(c container) { c.pod.Spec.SecurityContext.SeccompProfile = nil }),
			"a container is not":   second(func(c container) { c.SecurityContext.SeccompProfile.Type = corev1.SeccompProfileTypeUnconfined }),
		},
	},
	{
		name:  "everybody has requests and limits of processor and memory",
		check: eachContainer(limits),
		broken: map[string]func(*release){
			"there is no limit of memory":      first(func(c container) { delete(c.Resources.Limits, corev1.ResourceMemory) }),
			"there is no limit of processor":   first(func(c container) { delete(c.Resources.Limits, corev1.ResourceCPU) }),
			"there is no request":              second(func(c container) { delete(c.Resources.Requests, corev1.ResourceMemory) }),
			"more is requested than permitted": first(func(c container) { c.Resources.Requests[corev1.ResourceMemory] = resource.MustParse("1Gi") }),
		},
	},
	{
		name:  "probes ask ports that the container has",
		check: eachContainer(probes),
		broken: map[string]func(*release){
			"a port is not there":               first(func(c container) { c.ReadinessProbe.HTTPGet.Port = intstr.FromString("metrics") }),
			"the number is another one":         second(func(c container) { c.LivenessProbe.HTTPGet.Port = intstr.FromInt32(8080) }),
			"nobody asks whether it is alive":   first(func(c container) { c.LivenessProbe = nil }),
			"nobody asks whether it is ready":   first(func(c container) { c.ReadinessProbe = nil }),
			"nobody asks whether it has begun":  second(func(c container) { c.StartupProbe = nil }),
			"the application waits for nothing": second(func(c container) { c.StartupProbe.HTTPGet = nil }),
		},
	},
	{
		name: "every image has a version, which is not latest",
		check: eachContainer(func(c container) string {
			if name, digest, found := strings.Cut(c.Image, "@"); found && name != "" && strings.HasPrefix(digest, "sha256:") {
				return ""
			}
			slash, colon := strings.LastIndexByte(c.Image, '/'), strings.LastIndexByte(c.Image, ':')
			if slash < 0 || colon < slash || colon+1 == len(c.Image) || c.Image[colon+1:] == "latest" {
				return "runs " + c.Image
			}
			return ""
		}),
		broken: map[string]func(*release){
			"it is the latest":               first(func(c container) { c.Image = "registry.example.com/ucwagate:latest" }),
			"none is named":                  second(func(c container) { c.Image = "registry.example.com/ucwagate" }),
			"the colon belongs to the port":  first(func(c container) { c.Image = "registry.example.com:5000/ucwagate" }),
			"kustomize has not replaced it":  second(func(c container) { c.Image = "ucwagate" }),
			"the digest is not one of bytes": first(func(c container) { c.Image = "registry.example.com/ucwagate@latest" }),
		},
	},
}

func limits(c container) string {
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		request, limit := c.Resources.Requests[name], c.Resources.Limits[name]
		if request.Sign() <= 0 || limit.Sign() <= 0 || request.Cmp(limit) > 0 {
			return fmt.Sprintf("requests %s of %s, with the limit %s", &request, name, &limit)
		}
	}
	return ""
}

func probes(c container) string {
	list := map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe}
	if c.sidecar {
		// It would count for the whole pod.
		delete(list, "readiness")
	}
	for name, p := range list {
		var port intstr.IntOrString
		switch {
		case p != nil && p.HTTPGet != nil:
			port = p.HTTPGet.Port
		case p != nil && p.Exec != nil && c.workload.name == redisName:
			continue // redisRules
		case p != nil && p.TCPSocket != nil:
			port = p.TCPSocket.Port
		default:
			return "has no " + name + " probe"
		}
		if c.port(port.StrVal) == 0 && !slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.ContainerPort == port.IntVal }) {
			return fmt.Sprintf("has no port %s for its %s probe", port.String(), name)
		}
	}
	return ""
}
