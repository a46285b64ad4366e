package manifests

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"ucwagate/cmd/ucwagate/internal/config"
)

// redisName is that of the objects of components/redis.
const redisName = "ucwagate-redis"

// shared says whether gateways of a release share their state by Redis.
func shared(t testing.TB, r *release) bool { return len(redisPorts(t, r)) > 0 }

// redisPorts are the ports of Redis that gateways are configured with.
func redisPorts(t testing.TB, r *release) (ports []string) {
	eachConfiguration(func(_ container, cfg config.Config) string {
		addresses := cfg.Redis.Addresses
		if cfg.Redis.Sentinel != "" {
			addresses = append(addresses[:len(addresses):len(addresses)], ":6379") // of the servers that they name
		}
		for _, address := range addresses {
			if _, port, err := net.SplitHostPort(address); err == nil && !slices.Contains(ports, port) {
				ports = append(ports, port)
			}
		}
		return ""
	})(t, r)
	return ports
}

// server is the container of components/redis, or false.
func server(r *release) (container, bool) {
	for _, c := range containers(r) {
		if c.workload.name == redisName {
			return c, true
		}
	}
	return container{}, false
}

// argument is the value of an option of the server.
func (c container) argument(name string) string {
	if at := slices.Index(c.Args, "--"+name); at >= 0 && at+1 < len(c.Args) {
		return c.Args[at+1]
	}
	return ""
}

// eachServer makes a rule of one about the container of components/redis.
func eachServer(check func(c container) string) func(testing.TB, *release) []string {
	return func(_ testing.TB, r *release) []string {
		if c, ok := server(r); ok {
			if wrong := check(c); wrong != "" {
				return []string{c.String() + " " + wrong}
			}
		}
		return nil
	}
}

func redis(change func(c container)) func(*release) {
	return func(r *release) {
		c, _ := server(r)
		change(c)
	}
}

// setArgument changes an option of the server.
func setArgument(name, value string) func(*release) {
	return redis(func(c container) { c.Args[slices.Index(c.Args, "--"+name)+1] = value })
}

var redisRules = []rule{
	{
		name: "gateways that share their state have one budget, and know how many they may be",
		check: func(t testing.TB, r *release) []string {
			return budgetRules[0].check(t, r)
		},
		apart: map[string]func(*release){
			"there is one more":            func(r *release) { autoscaled(r).Spec.MaxReplicas++ },
			"they take themselves for two": first(variable("UCWAGATE_REDIS_REPLICAS", "2")),
			"the budget is beyond Graph's": first(variable("UCWAGATE_TENANTS_0_BUDGET_RATE", "50")),
			"they share nothing":           first(variable("UCWAGATE_REDIS_ADDRESSES", "")),
		},
	},
	{
		name: "a gateway that shares its state finds Redis, and can prove who it is",
		check: func(t testing.TB, r *release) []string {
			return eachConfiguration(func(c container, cfg config.Config) string {
				if !cfg.Redis.Enabled() {
					return ""
				}
				if cfg.Redis.PasswordFile == "" || cfg.Redis.Password != "" {
					return "has no file with the password"
				}
				if _, ok := server(r); !ok {
					return "" // elsewhere
				}
				for _, address := range cfg.Redis.Addresses {
					host, port, _ := net.SplitHostPort(address)
					s, ok := named[*corev1.Service](r, host)
					if !ok || !slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return strconv.Itoa(int(p.Port)) == port }) {
						return "looks for Redis at " + address + ", where there is no Service"
					}
				}
				return ""
			})(t, r)
		},
		apart: map[string]func(*release){
			"it looks elsewhere":         first(variable("UCWAGATE_REDIS_ADDRESSES", "redis:6379")),
			"it asks another port":       first(variable("UCWAGATE_REDIS_ADDRESSES", redisName+":6380")),
			"it has no password":         first(variable("UCWAGATE_REDIS_PASSWORD_FILE", "")),
			"the password is elsewhere":  first(variable("UCWAGATE_REDIS_PASSWORD_FILE", "/run/secrets/password")),
			"the Secret is not mounted":  first(func(c container) { c.VolumeMounts = c.VolumeMounts[1:] }),
			"it has another key":         first(func(c container) { volume(c, "redis").Secret.Items[0].Path = "redis-password" }),
			"the Service has a new name": func(r *release) { service(r, redisName).Name = "redis" },
		},
	},
	{
		name: "clients of gateways that share their state come to any of them",
		check: func(t testing.TB, r *release) []string {
			return append(services(t, r), ingressTimes(t, r)...)
		},
		apart: map[string]func(*release){
			"the Service keeps them at one": func(r *release) { service(r, "ucwagate").Spec.SessionAffinity = corev1.ServiceAffinityClientIP },
			"an Ingress does":               annotated("ucwagate", "upstream-hash-by", "$remote_addr"),
		},
	},
	{
		name: "there is one Redis, which keeps what it has and throws nothing away",
		check: eachServer(func(c container) string {
			var memory config.Size
			err := memory.UnmarshalText([]byte(strings.ToUpper(strings.TrimSuffix(c.argument("maxmemory"), "mb")) + "MiB"))
			limit := c.Resources.Limits.Memory().Value()
			switch s := all[*appsv1.StatefulSet](c.release)[0]; {
			case s.Spec.Replicas == nil || *s.Spec.Replicas != 1:
				return "is several that know nothing of each other"
			case c.argument("maxmemory-policy") != "noeviction":
				return "throws away what is still needed"
			case err != nil || int64(memory) > limit*4/5 || int64(memory) < limit/2:
				return "has maxmemory " + c.argument("maxmemory") + ", and its limit is " + c.Resources.Limits.Memory().String()
			case c.argument("appendonly") != "yes" || !c.claimed("data") || c.argument("dir") != "/data":
				return "keeps nothing over a restart"
			case !strings.HasPrefix(c.argument("aclfile"), "/run/secrets/redis/"):
				return "admits everybody"
			}
			return ""
		}),
		apart: map[string]func(*release){
			"there are two":              func(r *release) { *all[*appsv1.StatefulSet](r)[0].Spec.Replicas = 2 },
			"it may evict":               setArgument("maxmemory-policy", "allkeys-lru"),
			"it is killed before":        setArgument("maxmemory", "512mb"),
			"it uses a part of its own":  redis(func(c container) { c.Resources.Limits[corev1.ResourceMemory] = resource.MustParse("1Gi") }),
			"it writes to its own image": redis(func(c container) { all[*appsv1.StatefulSet](c.release)[0].Spec.VolumeClaimTemplates = nil }),
			"it writes nothing":          setArgument("appendonly", "no"),
			"anybody may sign in":        setArgument("aclfile", ""),
		},
	},
	{
		name: "the passwords of Redis are in a Secret, of which each sees its part",
		check: func(_ testing.TB, r *release) (broken []string) {
			for _, c := range containers(r) {
				for _, v := range c.pod.Spec.Volumes {
					if v.Secret == nil || v.Secret.SecretName != redisName {
						continue
					}
					if _, isServer := server(r); isServer && c.workload.name == redisName {
						if len(v.Secret.Items) != 1 || v.Secret.Items[0].Key != "users.acl" {
							broken = append(broken, c.String()+" has more than the list of users")
						}
						continue
					}
					for _, item := range v.Secret.Items {
						if item.Key == "users.acl" {
							broken = append(broken, c.String()+" has the list of users")
						}
					}
					if len(v.Secret.Items) == 0 {
						broken = append(broken, c.String()+" has all of the Secret")
					}
				}
			}
			return broken
		},
		apart: map[string]func(*release){
			"Redis has all":      redis(func(c container) { volume(c, "users").Secret.Items = nil }),
			"a gateway has all":  first(func(c container) { volume(c, "redis").Secret.Items = nil }),
			"it has the other's": first(func(c container) { volume(c, "redis").Secret.Items[0].Key = "users.acl" }),
		},
	},
	{
		name: "gateways come to Redis and nobody else does, and it goes nowhere",
		check: func(_ testing.TB, r *release) []string {
			if _, ok := server(r); !ok {
				return nil
			}
			p, ok := named[*networkingv1.NetworkPolicy](r, redisName)
			if !ok {
				return []string{"everybody comes to Redis"}
			}
			if len(p.Spec.Egress) > 0 || len(p.Spec.PolicyTypes) != 2 {
				return []string{"Redis may go somewhere"}
			}
			if len(p.Spec.Ingress) != 1 || len(p.Spec.Ingress[0].From) != 1 || len(p.Spec.Ingress[0].Ports) != 1 {
				return []string{"others than gateways come to Redis, or to other ports"}
			}
			from := p.Spec.Ingress[0].From[0]
			if from.NamespaceSelector != nil || from.PodSelector == nil || meant(r, from.PodSelector) != gateways(r)[0].pod {
				return []string{"others than gateways come to Redis"}
			}
			if portOf(r, p.Spec.PodSelector.MatchLabels, *p.Spec.Ingress[0].Ports[0].Port) != 6379 {
				return []string{"nobody comes to the port of Redis"}
			}
			for _, rule := range networks(r).Egress {
				for _, to := range rule.To {
					if to.PodSelector != nil && meant(r, to.PodSelector) == meant(r, &p.Spec.PodSelector) {
						return nil
					}
				}
			}
			return []string{"gateways may not go to Redis"}
		},
		apart: map[string]func(*release){
			"everybody may":         func(r *release) { redisPolicy(r).Spec.Ingress[0].From = nil },
			"every namespace may":   func(r *release) { redisPolicy(r).Spec.Ingress[0].From[0].PodSelector = nil },
			"to everything":         func(r *release) { redisPolicy(r).Spec.Ingress[0].Ports = nil },
			"nobody may":            func(r *release) { redisPolicy(r).Spec.Ingress = nil },
			"it may go out":         func(r *release) { redisPolicy(r).Spec.PolicyTypes = redisPolicy(r).Spec.PolicyTypes[:1] },
			"gateways may not go":   func(r *release) { networks(r).Egress = networks(r).Egress[:2] },
			"gateways go elsewhere": func(r *release) { networks(r).Egress[2].To[0].PodSelector.MatchLabels["a"] = "b" },
		},
	},
}

func redisPolicy(r *release) *networkingv1.NetworkPolicy {
	p, _ := named[*networkingv1.NetworkPolicy](r, redisName)
	return p
}

func service(r *release, name string) *corev1.Service {
	s, _ := named[*corev1.Service](r, name)
	return s
}

// volume is one of a container's pod.
func volume(c container, name string) *corev1.Volume {
	at := slices.IndexFunc(c.pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	return &c.pod.Spec.Volumes[at]
}
