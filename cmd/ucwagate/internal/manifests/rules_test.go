package manifests

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// rule is something that holds for every release.
type rule struct {
	name string
	// check returns what breaks it.
	check func(t testing.TB, r *release) []string
	// broken are changes to the overlays standalone and sidecar together, each of
	// which breaks it.
	broken map[string]func(r *release)
	// apart are changes to the overlay replicas that do.
	apart map[string]func(r *release)
}

// rules are in the files named after what they are about.
func rules() (list []rule) {
	for _, some := range [][]rule{containerRules, podRules, gatewayRules, budgetRules, referenceRules, networkRules, ingressRules, redisRules} {
		list = append(list, some...)
	}
	return list
}

func TestEveryReleaseKeepsEveryRule(t *testing.T) {
	for _, r := range releases(t) {
		t.Run(r.name, func(t *testing.T) {
			require.NotEmpty(t, gateways(r))
			for _, rule := range rules() {
				t.Run(rule.name, func(t *testing.T) { require.Empty(t, rule.check(t, r)) })
			}
		})
	}
}

func TestEveryRuleCanBeBroken(t *testing.T) {
	files := shipped(t)
	documents := append(append(stream(t, files, "overlays/standalone"), "---\n"...), stream(t, files, "overlays/sidecar")...)
	replicas := stream(t, files, "overlays/replicas")
	for _, rule := range rules() {
		require.NotEmpty(t, len(rule.broken)+len(rule.apart), rule.name)
		breaks := func(name string, documents []byte, how string, spoil func(*release)) {
			t.Run(rule.name+": not where "+how, func(t *testing.T) {
				t.Parallel()
				r, err := decode(name, documents)
				require.NoError(t, err)
				require.Empty(t, rule.check(t, r))
				spoil(r)
				require.NotEmpty(t, rule.check(t, r))
			})
		}
		for how, spoil := range rule.broken {
			breaks("standalone and sidecar", documents, how, spoil)
		}
		for how, spoil := range rule.apart {
			breaks("replicas", replicas, how, spoil)
		}
	}
}
