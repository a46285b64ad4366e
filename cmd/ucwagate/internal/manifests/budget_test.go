package manifests

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ucwagate/cmd/ucwagate/internal/config"
)

// Graph's limit for presence, of all programs with one app registration.
const (
	graphLimit  = 1500
	graphWindow = 30 * time.Second
)

// replicas is how many pods a Deployment may have outside of updates.
func replicas(r *release, d *appsv1.Deployment) int {
	for _, scaler := range all[*autoscalingv2.HorizontalPodAutoscaler](r) {
		if scaler.Spec.ScaleTargetRef.Name == d.Name {
			return int(scaler.Spec.MaxReplicas)
		}
	}
	if d.Spec.Replicas == nil {
		return 1
	}
	return int(*d.Spec.Replicas)
}

// peak is how many pods may have sent to Graph within one window.
//
// An update starts maxSurge pods more than there are. A pod that is told to end
// counts no longer, so the next one is started while it still drains: with more
// than one replica there is, for each pod that is replaced at a time, one that
// ends. No more than that, if a pod counts as available only after the one before
// it has ended and a window has passed.
func peak(r *release, d *appsv1.Deployment) (int, error) {
	n := replicas(r, d)
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return n, nil
	}
	update := d.Spec.Strategy.RollingUpdate
	if update == nil || update.MaxSurge == nil || update.MaxUnavailable == nil {
		return 0, fmt.Errorf("%s: the strategy of updates is not said", d.Name)
	}
	surge, err := intstr.GetScaledValueFromIntOrPercent(update.MaxSurge, n, true)
	if err != nil {
		return 0, err
	}
	missing, err := intstr.GetScaledValueFromIntOrPercent(update.MaxUnavailable, n, false)
	if err != nil {
		return 0, err
	}
	if n == 1 {
		return n + surge, nil
	}
	grace := time.Duration(0)
	if s := d.Spec.Template.Spec.TerminationGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	if settled := time.Duration(d.Spec.MinReadySeconds) * time.Second; settled < grace+graphWindow {
		return 0, fmt.Errorf("%s: the next pod is replaced after %s, and the one before takes %s to end and %s to be forgotten", d.Name, settled, grace, graphWindow)
	}
	return n + surge + surge + missing, nil
}

var budgetRules = []rule{{
	name: "all pods that there can be at once stay within Graph's limit",
	check: func(t testing.TB, r *release) []string {
		return eachConfiguration(func(c container, cfg config.Config) string {
			pods, err := peak(r, c.deployment)
			if err != nil {
				return err.Error()
			}
			if cfg.Redis.Enabled() {
				// They share one budget; apart from each other, each has its part.
				if cfg.Redis.Replicas < pods {
					return fmt.Sprintf("takes itself for one of %d, and there may be %d", cfg.Redis.Replicas, pods)
				}
				pods = 1
			}
			for _, tenant := range cfg.Tenants {
				b := tenant.Budget
				each := max(float64(b.Limit), float64(b.Capacity)+b.Rate*b.Window.Seconds())
				if all := float64(pods) * each; b.Window != graphWindow || all > graphLimit {
					return fmt.Sprintf("and its like may send %g requests in %s for %s", all, b.Window, tenant.Name)
				}
			}
			return ""
		})(t, r)
	},
	broken: map[string]func(*release){
		"there is one more":            func(r *release) { autoscaled(r).Spec.MaxReplicas++ },
		"an application has one more":  second(func(c container) { *c.deployment.Spec.Replicas++ }),
		"a variable is missing":        first(func(c container) { c.Env = nil }),
		"a second tenant has no share": configured(0, "tenants:", "tenants:\n  - {name: a, tenant_id: 00000000-0000-0000-0000-00000000eeee, domains: [a.example]}"),
		"all begin at once": first(func(c container) {
			*c.deployment.Spec.Strategy.RollingUpdate.MaxSurge = intstr.FromString("100%")
		}),
		"the next is replaced too soon": first(func(c container) { c.deployment.Spec.MinReadySeconds = 60 }),
		"one ends too slowly":           second(func(c container) { *c.pod.Spec.TerminationGracePeriodSeconds = 300 }),
	},
}}

func TestTheLargestNumberOfPodsIsThatOfAnUpdate(t *testing.T) {
	files := shipped(t)
	for _, c := range []struct {
		folder string
		peak   int
		why    string
	}{
		{"base", 2, "the one, and the next"},
		{"overlays/standalone", 5, "three, the next, and one that ends"},
		{"overlays/replicas", 6, "four, the next, and one that ends"},
		{"overlays/sidecar", 4, "two, the next, and one that ends"},
	} {
		r := build(t, files, c.folder)
		got, err := peak(r, all[*appsv1.Deployment](r)[0])
		require.NoError(t, err)
		require.Equal(t, c.peak, got, c.why)
	}
}
