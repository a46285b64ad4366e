package notify

import (
	"bytes"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

// rig is a receiver with all around it.
type rig struct {
	*Receiver
	issuer *issuer
	keys   *Keyring
	sink   *tape
	log    bytes.Buffer
	now    func() time.Time
}

func newRig(t testing.TB, clk clock.Clock, change func(*Config)) *rig {
	t.Helper()
	r := &rig{issuer: newIssuer(authority, 0), keys: newRing(t, KeyringConfig{Clock: clk}), sink: &tape{}, now: clk.Now}
	cfg := Config{
		TenantID: strings.ToUpper(tenantID), Subscriptions: secrets{subscription: secret}, Sink: r.sink,
		Keys: r.keys, Tokens: r.issuer.tokens(t, clk), Clock: clk, Logger: slog.New(slog.NewTextHandler(&r.log, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	r.Receiver, err = NewReceiver(cfg)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r
}

// token is a good one.
func (r *rig) token(t testing.TB) string { return token(t, 0, goodClaims(r.now(), nil)) }

// rich is a notification with a presence sealed for the current key.
func (r *rig) rich(t testing.TB, id, availability, activity string, changed map[string]any) map[string]any {
	t.Helper()
	item := notification(map[string]any{
		"resourceData":     map[string]any{"@odata.id": "users/" + id + "/presence", "id": id},
		"encryptedContent": seal(t, r.keys, presenceJSON(id, availability, activity)),
	})
	maps.Copy(item, changed)
	return item
}

func TestConfigurationOfAReceiver(t *testing.T) {
	keys, tokens := newRing(t, KeyringConfig{}), newIssuer(authority, 0).tokens(t, nil)
	for _, c := range []struct {
		name   string
		change func(*Config)
		good   bool
	}{
		{"as it should be", func(*Config) {}, true},
		{"a domain as the tenant", func(c *Config) { c.TenantID = "contoso.com" }, false},
		{"no subscriptions", func(c *Config) { c.Subscriptions = nil }, false},
		{"no sink", func(c *Config) { c.Sink = nil }, false},
		{"no keys", func(c *Config) { c.Keys = nil }, false},
		{"no tokens", func(c *Config) { c.Tokens = nil }, false},
		{"a negative body", func(c *Config) { c.MaxBody = -1 }, false},
		{"a negative queue", func(c *Config) { c.Queue = -1 }, false},
		{"less than no workers", func(c *Config) { c.Workers = -1 }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Config{TenantID: tenantID, Subscriptions: secrets{}, Sink: &tape{}, Keys: keys, Tokens: tokens}
			c.change(&cfg)
			r, err := NewReceiver(cfg)
			require.Equal(t, c.good, err == nil, "%v", err)
			if r != nil {
				r.Close()
				r.Close()
			}
		})
	}
}

func TestValidationOfTheURL(t *testing.T) {
	r := newRig(t, clock.System(), nil)
	server := httptest.NewServer(r)
	defer server.Close()
	const documented = "Validation: Testing client application reachability for subscription Request-Id: 5c2a+/=%&é \"quoted\""
	for _, c := range []struct {
		name, method, query string
		status              int
		body                string
	}{
		{"a token comes back decoded", http.MethodPost, "?validationToken=" + url.QueryEscape(documented), http.StatusOK, documented},
		{"beside other parameters", http.MethodPost, "?a=b&validationToken=abc&c=d", http.StatusOK, "abc"},
		{"the longest token", http.MethodPost, "?validationToken=" + strings.Repeat("a", 4096), http.StatusOK, strings.Repeat("a", 4096)},
		{"a longer one", http.MethodPost, "?validationToken=" + strings.Repeat("a", 4097), http.StatusBadRequest, ""},
		{"an empty one", http.MethodPost, "?validationToken=", http.StatusBadRequest, ""},
		{"markup", http.MethodPost, "?validationToken=" + url.QueryEscape("<script>alert(1)</script>"), http.StatusBadRequest, ""},
		{"a line end", http.MethodPost, "?validationToken=a%0d%0ab", http.StatusBadRequest, ""},
		{"bytes that are no text", http.MethodPost, "?validationToken=%ff%fe", http.StatusBadRequest, ""},
		{"GET", http.MethodGet, "?validationToken=abc", http.StatusMethodNotAllowed, ""},
		{"PUT", http.MethodPut, "?validationToken=abc", http.StatusMethodNotAllowed, ""},
		{"HEAD", http.MethodHead, "?validationToken=abc", http.StatusMethodNotAllowed, ""},
		{"OPTIONS", http.MethodOptions, "", http.StatusMethodNotAllowed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), c.method, server.URL+"/hook"+c.query, nil)
			require.NoError(t, err)
			resp, err := server.Client().Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, c.status, resp.StatusCode)
			require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
			require.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"))
			switch c.status {
			case http.StatusOK:
				require.Equal(t, c.body, string(got))
			case http.StatusMethodNotAllowed:
				require.Equal(t, http.MethodPost, resp.Header.Get("Allow"))
			default:
				require.NotContains(t, string(got), "script")
			}
		})
	}
	require.EqualValues(t, 3, r.Stats().Validations)
}

func TestItems(t *testing.T) {
	basic := graphsrc.PresenceChange{ID: anaID, SubscriptionID: subscription}
	busy := graphsrc.PresenceChange{ID: anaID, Availability: "Busy", Activity: "InACall", SubscriptionID: subscription}
	count := func(set func(*Stats)) Stats {
		s := Stats{Deliveries: 1, Items: 1}
		set(&s)
		return s
	}
	told := count(func(s *Stats) { s.Changes = 1 })
	foreign := count(func(s *Stats) { s.ForeignTenant = 1 })
	wrong := count(func(s *Stats) { s.WrongClientState = 1 })
	malformed := count(func(s *Stats) { s.Malformed = 1 })
	r := newRig(t, clock.System(), nil)
	good := r.token(t)
	expired := token(t, 0, goodClaims(time.Now().Add(-2*time.Hour), nil))
	forged := token(t, 2, goodClaims(time.Now(), nil))
	elsewhere := token(t, 0, goodClaims(time.Now(), map[string]any{"aud": benID}))
	rich := r.rich(t, anaID, "Busy", "InACall", nil)
	with := func(item map[string]any, name string, value any) map[string]any {
		item = maps.Clone(item)
		item[name] = value
		return item
	}
	lost := seal(t, newRing(t, KeyringConfig{}), presenceJSON(anaID, "Busy", "InACall"))
	altered := rich["encryptedContent"].(EncryptedContent)
	altered.DataSignature = lost.DataSignature
	splice := seal(t, r.keys, presenceJSON(benID, "Busy", "InACall"))
	anonymous := seal(t, r.keys, `{"availability":"Busy","activity":"InACall"}`)

	for _, c := range []struct {
		name   string
		item   map[string]any
		tokens []string
		want   []graphsrc.PresenceChange
		stats  Stats
	}{
		{"a basic notification says that something changed", notification(nil), nil, []graphsrc.PresenceChange{basic}, told},
		{"a rich one says what", rich, []string{good}, []graphsrc.PresenceChange{busy}, told},
		{"one good token among others is enough", rich, []string{expired, elsewhere, good}, []graphsrc.PresenceChange{busy}, told},
		{"ids in upper case", notification(map[string]any{
			"tenantId": strings.ToUpper(tenantID), "resourceData": map[string]any{"id": strings.ToUpper(anaID)},
		}), nil, []graphsrc.PresenceChange{basic}, told},
		{"the tenant as an organization", notification(map[string]any{"tenantId": nil}), nil, []graphsrc.PresenceChange{basic}, told},
		{"the person only in @odata.id", notification(map[string]any{
			"resourceData": map[string]any{"@odata.id": "users/" + anaID + "/presence"},
		}), nil, []graphsrc.PresenceChange{basic}, told},
		{"the person only in the content", with(rich, "resourceData", nil), []string{good}, []graphsrc.PresenceChange{busy}, told},
		{"the person only outside of the content", with(rich, "encryptedContent", anonymous), []string{good}, []graphsrc.PresenceChange{busy}, told},
		{
			"the content is about another person", with(rich, "encryptedContent", splice),
			[]string{good},
			[]graphsrc.PresenceChange{{ID: benID, Availability: "Busy", Activity: "InACall", SubscriptionID: subscription}},
			told,
		},
		{
			"content for a lost key", with(rich, "encryptedContent", lost),
			[]string{good},
			[]graphsrc.PresenceChange{basic},
			count(func(s *Stats) { s.Changes, s.Undecryptable = 1, 1 }),
		},
		{
			"altered content", with(rich, "encryptedContent", altered),
			[]string{good},
			[]graphsrc.PresenceChange{basic},
			count(func(s *Stats) { s.Changes, s.Undecryptable = 1, 1 }),
		},
		{
			"content for a lost key about nobody", with(with(rich, "encryptedContent", lost), "resourceData", nil),
			[]string{good},
			nil,
			count(func(s *Stats) { s.Undecryptable = 1 }),
		},
		{"content about nobody", with(with(rich, "encryptedContent", anonymous), "resourceData", nil), []string{good}, nil, malformed},
		{"a rich one without tokens", rich, nil, nil, count(func(s *Stats) { s.BadTokens = 1 })},
		{"an expired token", rich, []string{expired}, nil, count(func(s *Stats) { s.BadTokens = 1 })},
		{"forged tokens", rich, []string{forged, "x.y.z", ""}, nil, count(func(s *Stats) { s.BadTokens = 1 })},
		{"a token for another application", rich, []string{elsewhere}, nil, count(func(s *Stats) { s.BadTokens = 1 })},
		{"a forged clientState", with(rich, "clientState", "guessed"), []string{good}, nil, wrong},
		{"no clientState", with(rich, "clientState", nil), []string{good}, nil, wrong},
		{"a clientState beyond all measure", with(rich, "clientState", strings.Repeat("a", 129)), []string{good}, nil, wrong},
		{"another subscription", with(rich, "subscriptionId", benID), []string{good}, nil, wrong},
		{"no subscription", with(rich, "subscriptionId", ""), []string{good}, nil, wrong},
		{"another tenant", with(rich, "tenantId", benID), []string{good}, nil, foreign},
		{"no tenant", with(with(rich, "tenantId", nil), "organizationId", nil), []string{good}, nil, foreign},
		{"a person who is none", notification(map[string]any{"resourceData": map[string]any{"id": "../" + anaID}}), nil, nil, malformed},
		{"no resource", notification(map[string]any{"resourceData": nil}), nil, nil, malformed},
		{"a clientState that is no text", notification(map[string]any{"clientState": 5}), nil, nil, malformed},
		{"content that is none", with(rich, "encryptedContent", "text"), []string{good}, nil, malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			sink := &tape{}
			r := newRig(t, clock.System(), func(cfg *Config) { cfg.Sink, cfg.Keys = sink, r.keys })
			server := httptest.NewServer(r)
			defer server.Close()
			resp, err := server.Client().Post(server.URL, "text/plain", strings.NewReader(body(t, c.tokens, c.item)))
			require.NoError(t, err)
			answer, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, http.StatusAccepted, resp.StatusCode)
			require.Empty(t, answer)
			settle(t, r.Receiver)
			changes, events := sink.told()
			require.Equal(t, c.want, changes)
			require.Empty(t, events)
			if diff := cmp.Diff(c.stats, r.Stats(), cmpopts.IgnoreFields(Stats{}, "Lifecycle")); diff != "" {
				t.Error(diff)
			}
			r.Close()
			for _, hidden := range []string{secret, "guessed", anaID, good[:40], altered.DataKey[:40]} {
				require.NotContains(t, r.log.String(), hidden)
			}
		})
	}
}

func TestABatchKeepsOrderAndLeavesOutWhatIsNotForUs(t *testing.T) {
	r := newRig(t, clock.System(), nil)
	var items []map[string]any
	words := []string{"Available", "Busy", "Away", "DoNotDisturb", "Offline"}
	for _, word := range words {
		items = append(items, r.rich(t, anaID, word, word, nil), notification(map[string]any{"clientState": "x"}), r.rich(t, benID, word, word, nil))
	}
	for range 3 { // a redelivery harms nobody
		require.Equal(t, http.StatusAccepted, post(r.Receiver, "/", body(t, []string{r.token(t)}, items...)).Code)
	}
	settle(t, r.Receiver)
	changes, _ := r.sink.told()
	got := map[string][]string{}
	for _, c := range changes {
		got[c.ID] = append(got[c.ID], c.Availability)
	}
	want := append(append(append([]string{}, words...), words...), words...)
	require.Equal(t, map[string][]string{anaID: want, benID: want}, got)
	require.EqualValues(t, 15, r.Stats().WrongClientState)
}

func TestNotificationsMayComeBeforeTheSubscriptionsIDIsKnown(t *testing.T) {
	r := newRig(t, clock.System(), func(cfg *Config) { cfg.Subscriptions = secrets{"": secret} })
	require.Equal(t, http.StatusAccepted, post(r.Receiver, "/", body(t, nil, notification(nil))).Code)
	settle(t, r.Receiver)
	changes, _ := r.sink.told()
	require.Equal(t, []graphsrc.PresenceChange{{ID: anaID, SubscriptionID: subscription}}, changes)
}

func TestLifecycle(t *testing.T) {
	life := func(event string, changed map[string]any) map[string]any {
		item := map[string]any{
			"subscriptionId": subscription, "subscriptionExpirationDateTime": "2019-03-20T11:00:00.0000000Z",
			"tenantId": tenantID, "clientState": secret, "lifecycleEvent": event,
		}
		maps.Copy(item, changed)
		return item
	}
	r := newRig(t, clock.System(), nil)
	answer := post(r.Receiver, "/lifecycle", body(t, nil,
		life("reauthorizationRequired", nil), life("SubscriptionRemoved", nil), life("missed", nil),
		life("exploded", nil), life("missed", map[string]any{"clientState": "guessed"}), life("missed", map[string]any{"tenantId": benID}),
		notification(nil),
	))
	require.Equal(t, http.StatusAccepted, answer.Code)
	settle(t, r.Receiver)
	changes, events := r.sink.told()
	require.Len(t, changes, 1)
	require.Equal(t, []string{
		subscription + " reauthorizationRequired", subscription + " subscriptionRemoved", subscription + " missed",
	}, events)
	want := Stats{
		Deliveries: 1, Items: 7, Changes: 1, WrongClientState: 1, ForeignTenant: 1, UnknownEvent: 1,
		Lifecycle: map[Event]uint64{ReauthorizationRequired: 1, SubscriptionRemoved: 1, Missed: 1},
	}
	require.Equal(t, want, r.Stats())
	require.Contains(t, r.log.String(), "exploded")
}
