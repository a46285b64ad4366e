package manifests

import (
	"encoding/json"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// chartDir is where the chart is.
const chartDir = "../../../../configs/helm/ucwagate"

// parse reads values as a user writes them.
func parse(text string) (values map[string]any, err error) {
	return values, yaml.Unmarshal([]byte(text), &values)
}

// template is helm template ucwagate CHART --namespace ucwagate with values.
func template(values map[string]any) (map[string]string, error) {
	chart, err := loader.LoadDir(chartDir)
	if err != nil {
		return nil, err
	}
	if err := chart.Validate(); err != nil {
		return nil, err
	}
	all, err := chartutil.ToRenderValues(chart, values,
		chartutil.ReleaseOptions{Name: "ucwagate", Namespace: "ucwagate", Revision: 1, IsInstall: true}, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Engine{Strict: true}.Render(chart, all)
}

// render decodes what the chart makes of values.
func render(t testing.TB, text string) *release {
	t.Helper()
	values, err := parse(text)
	require.NoError(t, err)
	files, err := template(values)
	require.NoError(t, err)
	var documents strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		// What is switched off leaves an empty file.
		if path.Ext(name) == ".yaml" && strings.TrimSpace(files[name]) != "" {
			documents.WriteString("---\n" + files[name] + "\n")
		}
	}
	r, err := decode("helm", []byte(documents.String()))
	require.NoError(t, err)
	return r
}

const twoTenants = `
config: |
  server: {listen: "127.0.0.1:1", public_url: "https://ucwa.example.com", drain_delay: 10s}
  signin:
    ticket_keys_file: /run/secrets/ucwagate/ticket-keys
    htpasswd: /run/secrets/ucwagate/htpasswd
  tenants:
    - {name: one, tenant_id: 00000000-0000-0000-0000-000000000001, domains: [one.example]}
    - {name: two, tenant_id: 00000000-0000-0000-0000-000000000002, domains: [two.example]}
secret: {keys: [ticket-keys, htpasswd]}
`

// sharedState are the values that make what overlays/replicas makes, without Redis.
const sharedState = `{redis: {enabled: true}, autoscaling: {minReplicas: 3, maxReplicas: 4}}`

// variants are values with which every rule must hold too.
var variants = []struct{ name, values string }{
	{"the defaults", ``},
	{"one replica", `autoscaling: {enabled: false}`},
	{"eight replicas", `{autoscaling: {enabled: false}, replicas: 8}`},
	{"up to eight", `autoscaling: {maxReplicas: 8}`},
	{"one replica that is created again", `{autoscaling: {enabled: false}, strategy: Recreate}`},
	{"a client secret", `credential: {kind: secret}`},
	{"other programs", `budget: {limit: 1000}`},
	{"more memory", `{resources: {limits: {memory: 3Gi}}, autoscaling: {averageMemory: 2Gi}}`},
	{"a slow end", `terminationGracePeriodSeconds: 120`},
	{"a digest", `image: {digest: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}`},
	{"another name", `fullnameOverride: presence`},
	{"parked requests", `autoscaling: {averageParked: 5000}`},
	{"no way in", `ingress: {enabled: false}`},
	{"no discovery", `ingress: {discoveryHosts: []}`},
	{"nothing around it", `{networkPolicy: {enabled: false}, podDisruptionBudget: {enabled: false}, metrics: {service: false}}`},
	{"several tenants", twoTenants},
	{"several tenants and a client secret", twoTenants + `credential: {kind: secret}`},
	{"shared state", sharedState},
	{"shared state of eight", `{redis: {enabled: true}, autoscaling: {maxReplicas: 8}}`},
	{"shared state by a cluster with TLS", `
redis:
  {enabled: true, addresses: ["a.example.com:6380", "b.example.com:6380"], cluster: true, prefix: presence, username: "",
   tls: {enabled: true, serverName: redis.example.com}, peers: [{ipBlock: {cidr: 10.1.2.0/24}}]}
`},
	{"shared state by sentinels", `
redis:
  {enabled: true, addresses: ["a.example.com:26379", "b.example.com:26379"], sentinel: presence, sentinelUsername: ucwagate, database: 2,
   secret: {sentinelPassword: sentinel}, tls: {enabled: true}, extraPorts: [6379], peers: [{ipBlock: {cidr: 10.1.2.0/24}}]}
`},
	{"everything that can be added", `
imagePullSecrets: [registry]
podLabels: {team: presence}
podAnnotations: {example.com/owner: presence}
serviceAccount: {name: presence, annotations: {example.com/owner: presence}}
service: {port: 8000, annotations: {example.com/owner: presence}}
extraEnv: [{name: HTTPS_PROXY, value: "http://proxy.example.com:3128"}]
extraVolumes: [{name: roots, configMap: {name: ucwagate}}]
extraVolumeMounts: [{name: roots, mountPath: /etc/roots, readOnly: true}]
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: dedicated, operator: Exists}]
affinity: {nodeAffinity: {}}
priorityClassName: high
ingress: {annotations: {cert-manager.io/cluster-issuer: internal}}
`},
}

// The chart and the overlay make the same objects, field by field, apart from:
//
//   - labels that say the chart's and the gateway's version, and that Helm made them,
//   - the name of the ConfigMap, in which kustomize has a hash of its content, and
//     the annotation of the pod, in which the chart has one: each rolls the pods
//     when the configuration changes,
//   - the order of objects, of volumes, of mounts, and of variables, none of which refers to
//     another.
func TestTheChartMakesWhatTheOverlayMakes(t *testing.T) {
	for name, c := range map[string]struct {
		values  string
		overlay *release
	}{
		"by default":           {``, build(t, shipped(t), "overlays/standalone")},
		"with a client secret": {`credential: {kind: secret}`, withClientSecret(t)},
		"with shared state":    {sharedState, withoutRedis(t)},
	} {
		t.Run(name, func(t *testing.T) {
			require.Empty(t, cmp.Diff(bare(t, c.overlay), bare(t, render(t, c.values))), "- the overlay + the chart")
		})
	}
}

var hash = regexp.MustCompile(`^ucwagate-[a-z0-9]{10}$`)

// bare are the objects of a release by kind and name, without what may
// differ.
func bare(t *testing.T, r *release) map[string]any {
	t.Helper()
	objects := map[string]any{}
	for _, o := range r.objects {
		labelled := []map[string]string{o.(object).GetLabels()}
		switch o := o.(type) {
		case *corev1.ConfigMap:
			o.Name = hash.ReplaceAllString(o.Name, "ucwagate")
		case *appsv1.Deployment:
			labelled = append(labelled, o.Spec.Template.Labels)
			delete(o.Spec.Template.Annotations, "checksum/config")
			for _, v := range o.Spec.Template.Spec.Volumes {
				if v.ConfigMap != nil { // a pointer: this changes the object
					v.ConfigMap.Name = hash.ReplaceAllString(v.ConfigMap.Name, "ucwagate")
				}
			}
			slices.SortFunc(o.Spec.Template.Spec.Volumes, func(a, b corev1.Volume) int { return strings.Compare(a.Name, b.Name) })
			slices.SortFunc(o.Spec.Template.Spec.Containers[0].VolumeMounts, func(a, b corev1.VolumeMount) int { return strings.Compare(a.Name, b.Name) })
			slices.SortFunc(o.Spec.Template.Spec.Containers[0].Env, func(a, b corev1.EnvVar) int { return strings.Compare(a.Name, b.Name) })
		}
		for _, l := range labelled {
			for _, name := range []string{"helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/version"} {
				delete(l, name)
			}
		}
		key := o.GetObjectKind().GroupVersionKind().Kind + " " + o.(object).GetName()
		require.NotContains(t, objects, key)
		objects[key] = plain(t, o)
	}
	return objects
}

// plain is an object as it goes to the cluster.
func plain(t *testing.T, o runtime.Object) (value any) {
	t.Helper()
	text, err := json.Marshal(o)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &value))
	return value
}

func TestTheChartHasTheExampleOfTheOverlay(t *testing.T) {
	own, err := os.ReadFile(chartDir + "/files/ucwagate.yaml")
	require.NoError(t, err)
	base, err := os.ReadFile(kubernetesDir + "/base/ucwagate.yaml")
	require.NoError(t, err)
	require.Equal(t, string(base), string(own))
}

func TestTheChartTakesAConfigurationAsItIs(t *testing.T) {
	// Indented at first, without a last line end, with what templates look for.
	const text = "  # {{ .Values }} \"quoted\": 'text' \\n\ntenants: [{name: a}]\nlog: {level: info} # <&>\n"
	values := map[string]any{"config": text}
	files, err := template(values)
	require.NoError(t, err)
	r, err := decode("helm", []byte(files["ucwagate/templates/configmap.yaml"]))
	require.NoError(t, err)
	require.Equal(t, text, all[*corev1.ConfigMap](r)[0].Data["ucwagate.yaml"])
}

func TestAChangeOfTheConfigurationRollsThePods(t *testing.T) {
	checksum := func(values string) string {
		return gateways(render(t, values))[0].pod.Annotations["checksum/config"]
	}
	require.NotEmpty(t, checksum(``))
	require.Equal(t, checksum(``), checksum(`replicas: 2`))
	require.NotEqual(t, checksum(``), checksum(twoTenants))
}

func TestTheChartRefusesWhatCannotWork(t *testing.T) {
	for name, c := range map[string]struct{ values, message string }{
		"a value that is misspelled":        {`autoscaling: {maxReplica: 4}`, "maxReplica"},
		"a section that is misspelled":      {`autoscale: {}`, "autoscale"},
		"the latest image":                  {`image: {tag: latest}`, "tag"},
		"a digest that is none":             {`image: {digest: sha256:abc}`, "digest"},
		"a credential that is not known":    {`credential: {kind: managed}`, "kind"},
		"a credential without a client":     {`credential: {clientID: ""}`, "clientID"},
		"no replicas":                       {`replicas: 0`, "replicas"},
		"a strategy that is not known":      {`strategy: OnDelete`, "strategy"},
		"a budget beyond Graph's":           {`budget: {limit: 3000}`, "limit"},
		"a host with a scheme":              {`ingress: {host: "https://ucwa.example.com"}`, "host"},
		"more replicas at least than most":  {`autoscaling: {minReplicas: 4}`, "autoscaling.maxReplicas is below autoscaling.minReplicas"},
		"a memory limit without a unit":     {`resources: {limits: {memory: "536870912"}}`, "must be in Mi or Gi"},
		"a configuration that is no YAML":   {`config: "a: [b"`, "config is no YAML"},
		"a configuration without tenants":   {`config: "log: {level: info}"`, "config names no tenants"},
		"a cluster with sentinels":          {`redis: {enabled: true, cluster: true, sentinel: master}`, "exclude each other"},
		"Redis without an address":          {`redis: {enabled: true, addresses: []}`, "addresses"},
		"an address of Redis with a comma":  {`redis: {enabled: true, addresses: ["a:1,b:2"]}`, "addresses"},
		"Redis said twice":                  {"redis: {enabled: true}\nconfig: \"tenants: [{name: a}]\\nredis: {addresses: [a]}\"", "config has a section redis"},
		"no account, and none that is made": {`serviceAccount: {create: false}`, "serviceAccount.name is needed"},
	} {
		t.Run(name, func(t *testing.T) {
			values, err := parse(c.values)
			require.NoError(t, err)
			_, err = template(values)
			require.ErrorContains(t, err, c.message)
		})
	}
}

func TestTheSchemaKnowsTheValuesThatThereAre(t *testing.T) {
	chart, err := loader.LoadDir(chartDir)
	require.NoError(t, err)
	var schema struct {
		Properties map[string]struct {
			Properties map[string]any
		}
	}
	require.NoError(t, json.Unmarshal(chart.Schema, &schema))
	delete(schema.Properties, "global") // Helm's own
	require.Len(t, schema.Properties, len(chart.Values))
	for name, section := range schema.Properties {
		require.Contains(t, chart.Values, name)
		for key := range section.Properties {
			require.Contains(t, chart.Values[name], key, name)
		}
	}
}

func TestTheNotesSayWhatIsLeftToDo(t *testing.T) {
	notes := func(text string) string {
		values, err := parse(text)
		require.NoError(t, err)
		files, err := template(values)
		require.NoError(t, err)
		return files["ucwagate/templates/NOTES.txt"]
	}
	byDefault := notes(``)
	for _, said := range []string{
		"NOBODY CAN SIGN IN YET", "wait for the Secret ucwagate with the keys ticket-keys.", `--from-literal=ticket-keys="$(openssl rand -base64 32)"`,
		"system:serviceaccount:ucwagate:ucwagate", "Each pod may send 300 requests to Graph in any 30 s, a share for 5 pods at once.",
		"kubectl port-forward -n ucwagate deployment/ucwagate 9090", "Clients find it at https://lyncdiscover.example.com/",
	} {
		require.Contains(t, byDefault, said)
	}
	configured := notes(twoTenants + "credential: {kind: secret}\ningress: {discoveryHosts: []}\n")
	require.NotContains(t, configured, "NOBODY")
	require.NotContains(t, configured, "system:serviceaccount")
	require.Contains(t, configured, "with the keys ticket-keys, htpasswd, client-secret.")
	shared := notes(sharedState)
	require.Contains(t, shared, "All pods together may send 1500 requests to Graph in any 30 s; without Redis, each the part of one of 6.")
	require.Contains(t, shared, "by Redis at ucwagate-redis:6379, with the password from the Secret ucwagate-redis.")
	require.Contains(t, configured, "Clients find it at https://ucwa.example.com/")
}
