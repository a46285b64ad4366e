package manifests

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"ucwagate/cmd/ucwagate/internal/config"
)

// eachConfiguration makes a rule about gateways of one about a gateway and what
// it is configured with.
func eachConfiguration(check func(c container, cfg config.Config) string) func(testing.TB, *release) []string {
	return func(t testing.TB, r *release) (broken []string) {
		for _, c := range gateways(r) {
			loaded, err := c.configuration(t)
			if err != nil {
				broken = append(broken, fmt.Sprintf("%s: %v", c, err))
				continue
			}
			if wrong := check(c, loaded.Config); wrong != "" {
				broken = append(broken, c.String()+" "+wrong)
			}
		}
		return broken
	}
}

// listener takes an address apart; everywhere means every interface.
func listener(address string) (host string, port int32) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return "", 0
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "everywhere"
	}
	return host, int32(n)
}

// configured changes the text of the configuration.
func configured(gateway int, from, to string) func(*release) {
	return func(r *release) {
		for _, m := range all[*corev1.ConfigMap](r)[gateway : gateway+1] {
			m.Data["ucwagate.yaml"] = strings.Replace(m.Data["ucwagate.yaml"], from, to, 1)
		}
	}
}

// variable sets a variable, or changes it.
func variable(name, value string) func(container) {
	return func(c container) {
		for i := range c.Env {
			if c.Env[i].Name == name {
				c.Env[i].Value = value
				return
			}
		}
		c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
	}
}

var gatewayRules = []rule{
	{
		name: "the gateway accepts its configuration without a warning",
		check: func(t testing.TB, r *release) (broken []string) {
			for _, c := range gateways(r) {
				loaded, err := c.configuration(t)
				if err != nil {
					broken = append(broken, fmt.Sprintf("%s: %v", c, err))
					continue
				}
				for _, w := range loaded.Warnings {
					if w.Key == "redis.password_file" && strings.Contains(w.Message, "in clear") && strings.Contains(w.Message, redisName+":") {
						continue // within the cluster, which docs/scaling.md speaks of
					}
					broken = append(broken, fmt.Sprintf("%s: %v", c, w))
				}
			}
			return broken
		},
		broken: map[string]func(*release){
			"a key is misspelled":           configured(0, "drain_delay", "drain_dealy"),
			"a variable is misspelled":      first(variable("UCWAGATE_LOG_LEVLE", "debug")),
			"it warns":                      first(variable("UCWAGATE_PRESENCE_REFRESH", "2s")),
			"a file is in no volume":        configured(0, "/run/secrets/ucwagate/ticket-keys", "/run/secrets/keys"),
			"a key of the Secret is not":    second(func(c container) { c.pod.Spec.Volumes[1].Secret.Items = nil }),
			"a volume is not mounted":       first(func(c container) { c.VolumeMounts = c.VolumeMounts[:1] }),
			"there is no such ConfigMap":    first(func(c container) { c.pod.Spec.Volumes[0].ConfigMap.Name = "ucwagate" }),
			"the file has another name":     first(func(c container) { c.Args[2] = "/etc/ucwagate/config.yaml" }),
			"the file is outside":           second(func(c container) { c.Args[2] = "/ucwagate.yaml" }),
			"it is another command":         first(func(c container) { c.Args[0] = "demo" }),
			"it has no workload identity":   first(func(c container) { delete(c.pod.Labels, "azure.workload.identity/use") }),
			"the workload identity is none": func(r *release) { all[*corev1.ServiceAccount](r)[0].Annotations = nil },
		},
	},
	{
		name: "a gateway listens where it is looked for",
		check: eachConfiguration(func(c container, cfg config.Config) string {
			host, port := listener(cfg.Server.Listen)
			switch {
			case c.sidecar && (host != "127.0.0.1" || c.port("http") != 0):
				return "is a sidecar that others can reach at " + cfg.Server.Listen
			case !c.sidecar && (host != "everywhere" || port != c.port("http")):
				return fmt.Sprintf("listens at %s, and its port is %d", cfg.Server.Listen, c.port("http"))
			}
			host, port = listener(cfg.Internal.Listen)
			for path, p := range map[string]*corev1.Probe{"/startupz": c.StartupProbe, "/livez": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
				switch {
				case p == nil && c.sidecar && path == "/readyz":
				case p == nil || p.HTTPGet == nil || p.HTTPGet.Path != path || p.HTTPGet.Host != "":
					return "is not asked for " + path
				case host != "everywhere" || c.port(p.HTTPGet.Port.String()) != port:
					return fmt.Sprintf("answers %s at %s", path, cfg.Internal.Listen)
				}
			}
			return ""
		}),
		broken: map[string]func(*release){
			"it listens on loopback":       first(variable("UCWAGATE_SERVER_LISTEN", "127.0.0.1:8080")),
			"it listens at another port":   first(variable("UCWAGATE_SERVER_LISTEN", ":8081")),
			"a sidecar listens everywhere": second(variable("UCWAGATE_SERVER_LISTEN", ":8080")),
			"probes come from elsewhere":   second(variable("UCWAGATE_INTERNAL_LISTEN", "127.0.0.1:9090")),
			"probes ask another port":      first(variable("UCWAGATE_INTERNAL_LISTEN", ":9091")),
			"the default is loopback's": first(func(c container) {
				c.Env = c.Env[slices.IndexFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == "GOMEMLIMIT" }):]
			}),
			"probes ask the port of clients":  first(func(c container) { c.ReadinessProbe.HTTPGet.Port.StrVal = "http" }),
			"being ready is taken for living": first(func(c container) { c.LivenessProbe.HTTPGet.Path = "/readyz" }),
			"readiness is asked another way":  first(func(c container) { c.ReadinessProbe.HTTPGet.Path = "/" }),
		},
	},
	{
		name: "a pod has the time that draining takes",
		check: eachConfiguration(func(c container, cfg config.Config) string {
			const margin = 5 * time.Second
			needed := cfg.Server.DrainDelay + cfg.Server.DrainTime + cfg.Server.ShutdownGrace + margin
			given := time.Duration(0)
			if s := c.pod.Spec.TerminationGracePeriodSeconds; s != nil {
				given = time.Duration(*s) * time.Second
			}
			switch {
			case given < needed:
				return fmt.Sprintf("has %s to end, and takes up to %s", given, needed)
			case c.Lifecycle != nil:
				return "has a hook, and drains by itself"
			}
			return ""
		}),
		broken: map[string]func(*release){
			"it has less":              first(func(c container) { *c.pod.Spec.TerminationGracePeriodSeconds = 29 }),
			"it has the default":       first(func(c container) { c.pod.Spec.TerminationGracePeriodSeconds = nil }),
			"it is told to wait":       configured(0, "drain_delay: 10s", "drain_delay: 60s"),
			"a sidecar is":             configured(1, "shutdown_grace: 5s", "shutdown_grace: 5m"),
			"a hook waits beside that": first(func(c container) { c.Lifecycle = &corev1.Lifecycle{} }),
		},
	},
	{
		name: "a gateway serves until nobody sends to it any more",
		check: eachConfiguration(func(c container, cfg config.Config) string {
			if c.sidecar {
				return "" // the application has ended
			}
			p := c.ReadinessProbe
			if p == nil {
				return "has no readiness probe"
			}
			if noticed := time.Duration(p.PeriodSeconds*p.FailureThreshold) * time.Second; cfg.Server.DrainDelay <= noticed {
				return fmt.Sprintf("serves for %s, and %s pass until it counts as not ready", cfg.Server.DrainDelay, noticed)
			}
			return ""
		}),
		broken: map[string]func(*release){
			"it does not wait":       configured(0, "drain_delay: 10s", "drain_delay: 0s"),
			"it is asked too seldom": first(func(c container) { c.ReadinessProbe.PeriodSeconds = 10 }),
		},
	},
	{
		name: "memory of the Go heap ends at 85 to 90 % of the limit",
		check: func(_ testing.TB, r *release) (broken []string) {
			for _, c := range gateways(r) {
				limit := c.Resources.Limits.Memory().Value()
				var soft config.Size
				if err := soft.UnmarshalText([]byte(c.env("GOMEMLIMIT"))); err != nil || 100*int64(soft) < 85*limit || 100*int64(soft) > 90*limit {
					broken = append(broken, fmt.Sprintf("%s: GOMEMLIMIT is %q of %d bytes", c, c.env("GOMEMLIMIT"), limit))
				}
				for _, scaler := range all[*autoscalingv2.HorizontalPodAutoscaler](r) {
					for _, m := range scaler.Spec.Metrics {
						if m.Resource != nil && scaler.Spec.ScaleTargetRef.Name == c.deployment.Name && m.Resource.Target.AverageValue.Value() >= int64(soft) {
							broken = append(broken, fmt.Sprintf("%s: the autoscaler waits for %s", c, m.Resource.Target.AverageValue))
						}
					}
				}
			}
			return broken
		},
		broken: map[string]func(*release){
			"it is not set":            first(variable("GOMEMLIMIT", "")),
			"it is the limit itself":   second(variable("GOMEMLIMIT", "128MiB")),
			"the limit is another one": first(func(c container) { c.Resources.Limits[corev1.ResourceMemory] = resource.MustParse("1Gi") }),
			"the autoscaler waits for more": func(r *release) {
				*autoscaled(r).Spec.Metrics[0].Resource.Target.AverageValue = resource.MustParse("460Mi")
			},
		},
	},
	{
		name: "how many threads run is left to the limit of the processor",
		check: eachContainer(func(c container) string {
			if c.env("GOMAXPROCS") != "" {
				return "sets GOMAXPROCS"
			}
			return ""
		}),
		broken: map[string]func(*release){"it is set": first(variable("GOMAXPROCS", "2"))},
	},
	{
		name: "no secret stands in a manifest",
		check: func(t testing.TB, r *release) []string {
			var broken []string
			for _, s := range all[*corev1.Secret](r) {
				broken = append(broken, "there is a Secret "+s.Name)
			}
			return append(broken, eachConfiguration(func(c container, cfg config.Config) string {
				for _, v := range c.Env {
					for _, word := range []string{"SECRET", "PASSWORD", "TICKET_KEYS", "TOKEN"} {
						if strings.HasSuffix(v.Name, word) && v.Value != "" {
							return "has a value for " + v.Name
						}
					}
				}
				if len(cfg.SignIn.TicketKeys) > 0 {
					return "has ticket_keys"
				}
				for _, tenant := range cfg.Tenants {
					if tenant.Credential.Secret != "" {
						return "has a client secret"
					}
				}
				return ""
			})(t, r)...)
		},
		broken: map[string]func(*release){
			"the configuration has one": func(r *release) {
				configured(0, "domains: [contoso.com]", "domains: [contoso.com]\n    credential: {client_id: 00000000-0000-0000-0000-00000000cccc, secret: abc}")(r)
				variable("UCWAGATE_TENANTS_0_CREDENTIAL_KIND", "secret")(gateways(r)[0])
			},
			"a variable has one": first(variable("REDIS_PASSWORD", "abc")),
			"there is a Secret":  func(r *release) { r.objects = append(r.objects, &corev1.Secret{}) },
		},
	},
}

// autoscaled is the autoscaler.
func autoscaled(r *release) *autoscalingv2.HorizontalPodAutoscaler {
	return all[*autoscalingv2.HorizontalPodAutoscaler](r)[0]
}
