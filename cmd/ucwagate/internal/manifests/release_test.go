package manifests

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// kubernetesDir is where the kustomizations are.
const kubernetesDir = "../../../../configs/kubernetes"

// release is what is applied to a cluster together.
type release struct {
	name    string
	objects []runtime.Object
}

// object is what every decoded object is.
type object interface {
	runtime.Object
	metav1.Object
}

// all returns the objects of a type.
func all[T object](r *release) (list []T) {
	for _, o := range r.objects {
		if typed, ok := o.(T); ok {
			list = append(list, typed)
		}
	}
	return list
}

// named returns the object of a type and name, or nil.
func named[T object](r *release, name string) (none T, found bool) {
	for _, o := range all[T](r) {
		if o.GetName() == name {
			return o, true
		}
	}
	return none, false
}

// decode takes a stream of documents apart and reads each into its type; a field
// that the type does not have, or has twice, is an error.
func decode(name string, documents []byte) (*release, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, autoscalingv2.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	r := &release{name: name}
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(documents)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(document)) == 0 {
			continue
		}
		o, _, err := decoder.Decode(document, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: decoding %q…: %w", name, document[:min(len(document), 120)], err)
		}
		r.objects = append(r.objects, o)
	}
}

// shipped is a copy of the kustomizations to which a test may add its own.
func shipped(t testing.TB) filesys.FileSystem {
	t.Helper()
	files := filesys.MakeFsInMemory()
	require.NoError(t, filepath.WalkDir(kubernetesDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(kubernetesDir, path)
		if err != nil {
			return err
		}
		return files.WriteFile("/"+filepath.ToSlash(name), text)
	}))
	return files
}

// stream builds a kustomization of the copy.
func stream(t testing.TB, files filesys.FileSystem, folder string) []byte {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, "/"+folder)
	require.NoError(t, err)
	documents, err := resources.AsYaml()
	require.NoError(t, err)
	return documents
}

// build builds a kustomization of the copy and decodes it.
func build(t testing.TB, files filesys.FileSystem, folder string) *release {
	t.Helper()
	r, err := decode(folder, stream(t, files, folder))
	require.NoError(t, err)
	return r
}

// withClientSecret is the standalone overlay with the other credential.
func withClientSecret(t testing.TB) *release {
	t.Helper()
	files := shipped(t)
	const file = "/overlays/standalone/kustomization.yaml"
	text, err := files.ReadFile(file)
	require.NoError(t, err)
	changed := strings.Replace(string(text), "- ../../components/workload-identity", "- ../../components/client-secret", 1)
	require.NotEqual(t, string(text), changed)
	require.NoError(t, files.WriteFile(file, []byte(changed)))
	return build(t, files, "overlays/standalone")
}

// withoutRedis is the overlay of several replicas, with a Redis that is elsewhere.
func withoutRedis(t testing.TB) *release {
	t.Helper()
	files := shipped(t)
	const file = "/overlays/replicas/kustomization.yaml"
	text, err := files.ReadFile(file)
	require.NoError(t, err)
	changed := strings.Replace(string(text), "components:\n", "", 1)
	changed = strings.Replace(changed, "  - ../../components/redis\n", "", 1)
	require.NoError(t, files.WriteFile(file, []byte(changed)))
	r := build(t, files, "overlays/replicas")
	require.Empty(t, all[*appsv1.StatefulSet](r))
	return r
}

// releases are all that the rules must hold for.
func releases(t testing.TB) []*release {
	t.Helper()
	files := shipped(t)
	list := []*release{
		build(t, files, "base"), build(t, files, "overlays/standalone"), build(t, files, "overlays/sidecar"), build(t, files, "overlays/replicas"),
		withClientSecret(t), withoutRedis(t),
	}
	list[4].name = "overlays/standalone with components/client-secret"
	list[5].name = "overlays/replicas without components/redis"
	for _, v := range variants {
		list = append(list, render(t, v.values))
		list[len(list)-1].name = "helm: " + v.name
	}
	return list
}

func TestEveryKustomizationBuildsWhatItIsFor(t *testing.T) {
	kinds := func(r *release) (list []string) {
		for _, o := range r.objects {
			list = append(list, o.GetObjectKind().GroupVersionKind().Kind)
		}
		return list
	}
	files := shipped(t)
	base := []string{"ServiceAccount", "ConfigMap", "Service", "Service", "Deployment", "PodDisruptionBudget", "NetworkPolicy"}
	require.ElementsMatch(t, base, kinds(build(t, files, "base")))
	require.ElementsMatch(t, append(base, "HorizontalPodAutoscaler", "Ingress", "Ingress", "Ingress"), kinds(build(t, files, "overlays/standalone")))
	require.ElementsMatch(t, append(base, "HorizontalPodAutoscaler", "Ingress", "Ingress", "Ingress", "ServiceAccount", "Service", "StatefulSet", "NetworkPolicy"), kinds(build(t, files, "overlays/replicas")))
	require.ElementsMatch(t, []string{"ServiceAccount", "ConfigMap", "Deployment"}, kinds(build(t, files, "overlays/sidecar")))
}

func TestNoKustomizationIsLeftOut(t *testing.T) {
	found, err := filepath.Glob(kubernetesDir + "/*/*/kustomization.yaml")
	require.NoError(t, err)
	var names []string
	for _, path := range found {
		names = append(names, filepath.Base(filepath.Dir(filepath.Dir(path)))+"/"+filepath.Base(filepath.Dir(path)))
	}
	require.ElementsMatch(t, []string{
		"overlays/standalone", "overlays/sidecar", "overlays/replicas",
		"components/workload-identity", "components/client-secret", "components/sidecar", "components/redis",
	}, names, "releases names them all, or the component of one")
}

func TestAMisspelledFieldIsAnError(t *testing.T) {
	for name, document := range map[string]string{
		"a field that is not there":   "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\nautomountServiceAccountTokens: false\n",
		"a field of another level":    "apiVersion: v1\nkind: Service\nmetadata: {name: a, clusterIP: None}\n",
		"a field that stands twice":   "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: ClusterIP, type: NodePort}\n",
		"a value of another type":     "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: http}\n",
		"a kind that nobody knows":    "apiVersion: v1\nkind: Servant\nmetadata: {name: a}\n",
		"a version that nobody knows": "apiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: a}\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decode("test", []byte(document))
			require.Error(t, err)
		})
	}
}
