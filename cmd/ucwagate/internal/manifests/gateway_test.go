package manifests

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ucwagate/cmd/ucwagate/internal/config"
)

// container is a container and the pod that it belongs to.
type container struct {
	*corev1.Container
	release *release
	workload
	sidecar bool // starts before the others and runs beside them
}

func (c container) String() string { return c.workload.name + "/" + c.Name }

// workload is what makes pods: a Deployment, or the StatefulSet of Redis.
type workload struct {
	kind, name string
	pod        *corev1.PodTemplateSpec
	selector   *metav1.LabelSelector
	deployment *appsv1.Deployment // nil for a StatefulSet
	claims     []corev1.PersistentVolumeClaim
}

func workloads(r *release) (list []workload) {
	for _, d := range all[*appsv1.Deployment](r) {
		list = append(list, workload{"Deployment", d.Name, &d.Spec.Template, d.Spec.Selector, d, nil})
	}
	for _, s := range all[*appsv1.StatefulSet](r) {
		list = append(list, workload{"StatefulSet", s.Name, &s.Spec.Template, s.Spec.Selector, nil, s.Spec.VolumeClaimTemplates})
	}
	return list
}

// containers are all containers of all pods.
func containers(r *release) (list []container) {
	for _, w := range workloads(r) {
		pod := w.pod
		for i := range pod.Spec.InitContainers {
			c := &pod.Spec.InitContainers[i]
			list = append(list, container{c, r, w, c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways})
		}
		for i := range pod.Spec.Containers {
			list = append(list, container{&pod.Spec.Containers[i], r, w, false})
		}
	}
	return list
}

// gateways are the containers that run the gateway.
func gateways(r *release) []container {
	return slices.DeleteFunc(containers(r), func(c container) bool { return c.Name != "ucwagate" })
}

// port returns the number of a port, or 0 if the container has none of that name.
func (c container) port(name string) int32 {
	for _, p := range c.Ports {
		if p.Name == name {
			return p.ContainerPort
		}
	}
	return 0
}

// env returns a variable that is written out, or "".
func (c container) env(name string) string {
	for _, v := range c.Env {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}

// configuration loads what the container would load: the file that its arguments
// name out of the volumes that it mounts, and its variables. Secrets have some
// content; paths lead below a folder of the test.
func (c container) configuration(t testing.TB) (*config.Loaded, error) {
	root := t.TempDir()
	var moves []string
	for _, m := range c.VolumeMounts {
		content, err := c.content(m.Name)
		if err != nil {
			return nil, err
		}
		moves = append(moves, m.MountPath+"/", root+m.MountPath+"/")
		for name, text := range content {
			file := filepath.Join(root, m.MountPath, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				return nil, err
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				return nil, err
			}
		}
	}
	move := strings.NewReplacer(moves...)
	at := slices.Index(c.Args, "--config")
	if len(c.Args) == 0 || c.Args[0] != "serve" || at < 0 || at+1 == len(c.Args) {
		return nil, errors.New("its arguments are not serve --config FILE")
	}
	file := c.Args[at+1]
	if move.Replace(file) == file {
		return nil, fmt.Errorf("%s is in no volume", file)
	}
	file = move.Replace(file)
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, []byte(move.Replace(string(text))), 0o600); err != nil {
		return nil, err
	}
	environment := c.workloadIdentity()
	for _, v := range c.Env {
		environment = append(environment, v.Name+"="+move.Replace(v.Value))
	}
	return config.Load(file, environment)
}

// claimed says whether a volume is the pod's own, to write to.
func (c container) claimed(volume string) bool {
	return slices.ContainsFunc(c.claims, func(p corev1.PersistentVolumeClaim) bool { return p.Name == volume })
}

// content is what a volume holds, by file.
func (c container) content(volume string) (map[string]string, error) {
	if c.claimed(volume) {
		return nil, nil
	}
	i := slices.IndexFunc(c.pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == volume })
	if i < 0 {
		return nil, fmt.Errorf("there is no volume %s", volume)
	}
	switch v := c.pod.Spec.Volumes[i]; {
	case v.ConfigMap != nil:
		found, ok := named[*corev1.ConfigMap](c.release, v.ConfigMap.Name)
		if !ok {
			return nil, fmt.Errorf("there is no ConfigMap %s", v.ConfigMap.Name)
		}
		return found.Data, nil
	case v.Secret != nil:
		content := map[string]string{}
		for _, item := range v.Secret.Items {
			key := make([]byte, 32)
			_, _ = rand.Read(key) // never fails
			content[item.Path] = base64.StdEncoding.EncodeToString(key) + "\n"
		}
		return content, nil
	default:
		return nil, nil
	}
}

// workloadIdentity are the variables that the webhook of Entra Workload ID adds to
// pods with its label, from the annotation of their ServiceAccount.
func (c container) workloadIdentity() []string {
	account, ok := named[*corev1.ServiceAccount](c.release, c.pod.Spec.ServiceAccountName)
	if !ok || c.pod.Labels["azure.workload.identity/use"] != "true" {
		return nil
	}
	return []string{
		"AZURE_CLIENT_ID=" + account.Annotations["azure.workload.identity/client-id"],
		"AZURE_FEDERATED_TOKEN_FILE=/var/run/secrets/azure/tokens/azure-identity-token",
	}
}
