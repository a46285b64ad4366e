package manifests

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// meant returns the pods that a selector finds, or nil if it finds
// none, those of several, or everybody's.
func meant(r *release, s *metav1.LabelSelector) *corev1.PodTemplateSpec {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil || selector.Empty() {
		return nil
	}
	var found []*corev1.PodTemplateSpec
	for _, w := range workloads(r) {
		if selector.Matches(labels.Set(w.pod.Labels)) {
			found = append(found, w.pod)
		}
	}
	if len(found) != 1 {
		return nil
	}
	return found[0]
}

func matching(set map[string]string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: set}
}

func selectors(_ testing.TB, r *release) (broken []string) {
	for _, w := range workloads(r) {
		if meant(r, w.selector) != w.pod {
			broken = append(broken, w.kind+" "+w.name)
		}
		for _, s := range w.pod.Spec.TopologySpreadConstraints {
			if meant(r, s.LabelSelector) != w.pod {
				broken = append(broken, w.kind+" "+w.name+", spread over "+s.TopologyKey)
			}
		}
	}
	for _, s := range all[*corev1.Service](r) {
		if meant(r, matching(s.Spec.Selector)) == nil {
			broken = append(broken, "Service "+s.Name)
		}
	}
	for _, p := range all[*policyv1.PodDisruptionBudget](r) {
		if meant(r, p.Spec.Selector) == nil {
			broken = append(broken, "PodDisruptionBudget "+p.Name)
		}
	}
	for _, p := range all[*networkingv1.NetworkPolicy](r) {
		if meant(r, &p.Spec.PodSelector) == nil {
			broken = append(broken, "NetworkPolicy "+p.Name)
		}
	}
	return broken
}

func autoscalers(_ testing.TB, r *release) (broken []string) {
	for _, scaler := range all[*autoscalingv2.HorizontalPodAutoscaler](r) {
		target := scaler.Spec.ScaleTargetRef
		d, ok := named[*appsv1.Deployment](r, target.Name)
		switch {
		case !ok || target.Kind != "Deployment" || target.APIVersion != "apps/v1":
			broken = append(broken, "there is no "+target.Kind+" "+target.Name)
		case d.Spec.Replicas != nil:
			broken = append(broken, "replicas of "+d.Name+" would be set back at each update")
		case scaler.Spec.MinReplicas == nil || *scaler.Spec.MinReplicas > scaler.Spec.MaxReplicas || len(scaler.Spec.Metrics) == 0:
			broken = append(broken, "it never scales")
		}
	}
	return broken
}

var referenceRules = []rule{
	{
		name:  "every selector finds the pods that are meant, and no others",
		check: selectors,
		broken: map[string]func(*release){
			"that of a Deployment finds none": first(func(c container) { c.deployment.Spec.Selector.MatchLabels["a"] = "b" }),
			"pods have other labels":          first(func(c container) { c.pod.Labels = nil }),
			"that of a Service finds none":    func(r *release) { all[*corev1.Service](r)[0].Spec.Selector["a"] = "b" },
			"that of a Service is empty":      func(r *release) { all[*corev1.Service](r)[1].Spec.Selector = nil },
			"a PodDisruptionBudget finds none": func(r *release) {
				all[*policyv1.PodDisruptionBudget](r)[0].Spec.Selector.MatchLabels = map[string]string{"app": "ucwagate"}
			},
			"a NetworkPolicy finds everybody": func(r *release) {
				all[*networkingv1.NetworkPolicy](r)[0].Spec.PodSelector = metav1.LabelSelector{}
			},
			"pods are spread away from others": first(func(c container) { c.pod.Spec.TopologySpreadConstraints[1].LabelSelector = nil }),
			"two Deployments have the labels": second(func(c container) {
				for name, value := range gateways(c.release)[0].pod.Labels {
					c.pod.Labels[name] = value
				}
			}),
		},
	},
	{
		name:  "an autoscaler scales what is there",
		check: autoscalers,
		broken: map[string]func(*release){
			"it has another name":         func(r *release) { autoscaled(r).Spec.ScaleTargetRef.Name = "gateway" },
			"it is of another kind":       func(r *release) { autoscaled(r).Spec.ScaleTargetRef.Kind = "StatefulSet" },
			"the manifest says a number":  first(func(c container) { c.deployment.Spec.Replicas = new(int32) }),
			"the most is below the least": func(r *release) { autoscaled(r).Spec.MaxReplicas = 1 },
		},
	},
	{
		name: "a node can be drained",
		check: func(_ testing.TB, r *release) (broken []string) {
			for _, p := range all[*policyv1.PodDisruptionBudget](r) {
				if p.Spec.MinAvailable != nil || p.Spec.MaxUnavailable == nil || p.Spec.MaxUnavailable.IntValue() < 1 {
					broken = append(broken, p.Name+" may keep the last pod where it is")
				}
			}
			return broken
		},
		broken: map[string]func(*release){
			"one must stay": func(r *release) {
				one := intstr.FromInt32(1)
				all[*policyv1.PodDisruptionBudget](r)[0].Spec.MinAvailable = &one
			},
			"none may go": func(r *release) { *all[*policyv1.PodDisruptionBudget](r)[0].Spec.MaxUnavailable = intstr.FromInt32(0) },
		},
	},
	{
		name: "what is mounted is there, and is not written to",
		check: eachContainer(func(c container) string {
			for _, m := range c.VolumeMounts {
				if !m.ReadOnly && !c.claimed(m.Name) {
					return "may write to " + m.MountPath
				}
				if _, err := c.content(m.Name); err != nil {
					return "mounts " + m.MountPath + ": " + err.Error()
				}
			}
			return ""
		}),
		broken: map[string]func(*release){
			"there is no such volume":    first(func(c container) { c.VolumeMounts[0].Name = "etc" }),
			"there is no such ConfigMap": second(func(c container) { c.pod.Spec.Volumes[0].ConfigMap.Name = "etc" }),
			"it can be written to":       first(func(c container) { c.VolumeMounts[1].ReadOnly = false }),
		},
	},
	{
		name: "the gateway can read its secrets, and nobody else can",
		check: func(_ testing.TB, r *release) (broken []string) {
			for _, c := range gateways(r) {
				for _, v := range c.pod.Spec.Volumes {
					if v.Secret == nil {
						continue
					}
					group := c.pod.Spec.SecurityContext != nil && c.pod.Spec.SecurityContext.FSGroup != nil
					switch mode := v.Secret.DefaultMode; {
					case mode == nil || *mode&0o022 != 0:
						broken = append(broken, c.String()+": the mode of secrets is not said, or lets others write")
					case *mode&0o004 == 0 && !group:
						broken = append(broken, c.String()+": secrets belong to root alone")
					case *mode&0o004 != 0 && !c.sidecar:
						broken = append(broken, c.String()+": everybody may read secrets")
					}
				}
				for _, other := range containers(r) {
					for _, m := range other.VolumeMounts {
						if other.pod == c.pod && other.Name != c.Name && (m.Name == "secrets" || m.Name == "ucwagate-secrets") {
							broken = append(broken, other.String()+": has the secrets of "+c.String())
						}
					}
				}
			}
			return broken
		},
		broken: map[string]func(*release){
			"everybody may":              first(func(c container) { *c.pod.Spec.Volumes[1].Secret.DefaultMode = 0o444 }),
			"the group is not the pod's": first(func(c container) { c.pod.Spec.SecurityContext.FSGroup = nil }),
			"the application mounts them": second(func(c container) {
				app := application(c.release)
				app.VolumeMounts = append(app.VolumeMounts, c.VolumeMounts...)
			}),
		},
	},
}
