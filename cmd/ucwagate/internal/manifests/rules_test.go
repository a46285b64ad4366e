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
	// broken are changes to both overlays together, each of which
	// breaks it.
	broken map[string]func(r *release)
}

// rules are in the files named after what they are about.
func rules() (list []rule) {
	for _, some := range [][]rule{containerRules, podRules, gatewayRules, budgetRules, referenceRules, networkRules, ingressRules} {
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
	for _, rule := range rules() {
		require.NotEmpty(t, rule.broken, rule.name)
		for how, spoil := range rule.broken {
			t.Run(rule.name+": not where "+how, func(t *testing.T) {
				t.Parallel()
				r, err := decode("standalone and sidecar", documents)
				require.NoError(t, err)
				require.Empty(t, rule.check(t, r))
				spoil(r)
				require.NotEmpty(t, rule.check(t, r))
			})
		}
	}
}
