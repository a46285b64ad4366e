package ucwaapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryOperationThatWritesIsToldOfOrNeedNotBe makes whoever adds an
// operation decide.
func TestEveryOperationThatWritesIsToldOfOrNeedNotBe(t *testing.T) {
	// What concerns nobody but the application itself.
	untold := []string{
		"POST applications", "DELETE application", "POST batch", "POST reportMyNetwork", "PUT communication", "POST reportMyActivity",
		"POST subscribeToGroupPresence", "POST presenceSubscriptions, subscribeToGroupPresence", "POST presenceSubscription",
		"DELETE presenceSubscription", "POST presenceSubscriptionMemberships, addToPresenceSubscription",
		"DELETE presenceSubscriptionMembership", "POST startOrRefreshSubscriptionToContactsAndGroups", "POST stopSubscriptionToContactsAndGroups",
	}
	for _, r := range routes {
		name := r.Method + " " + r.Rel
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		require.False(t, reads && r.action != "", "%s changes nothing", name)
		if !reads {
			require.Equal(t, slices.Contains(untold, name), r.action == "", name)
		}
	}
	require.Len(t, Actions(), 12)
}

func TestEveryPathHasTheTemplateOfItsResource(t *testing.T) {
	all := templatesByPath()
	for _, r := range Routes() {
		for _, p := range r.Paths {
			at := all[strings.ToLower(p)]
			require.NotEmpty(t, at.path, p)
			require.Equal(t, all[strings.ToLower(at.path)], at, "the template of a template is itself")
			require.Equal(t, r.Rel == "events", at.held, p)
			require.Equal(t, strings.HasSuffix(p, "/events"), at.held, p)
		}
	}
	require.Less(t, len(Templates()), 60, "the forms of a path are one: the templates are a label")
	require.Contains(t, Templates(), "/ucwa/oauth/v1/applications/:application/people/:contact/presence")
}
