package notify

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/clock"
)

func TestBodiesThatAreNoDelivery(t *testing.T) {
	r := newRig(t, clock.System(), func(cfg *Config) { cfg.MaxBody = 100_000 })
	server := httptest.NewServer(r)
	defer server.Close()
	item := body(t, nil, notification(nil))
	for _, c := range []struct {
		name, body string
		status     int
	}{
		{"nothing", "", http.StatusBadRequest},
		{"no JSON", "value=1", http.StatusBadRequest},
		{"an array", "[]", http.StatusBadRequest},
		{"a text", `"value"`, http.StatusBadRequest},
		{"null", "null", http.StatusBadRequest},
		{"no value", `{"validationTokens":[]}`, http.StatusBadRequest},
		{"a value that is no list", `{"value":{}}`, http.StatusBadRequest},
		{"a value that is null", `{"value":null}`, http.StatusBadRequest},
		{"tokens that are no list", `{"value":[],"validationTokens":"a"}`, http.StatusBadRequest},
		{"half a delivery", item[:len(item)-3], http.StatusBadRequest},
		{"more after the delivery", item + "{}", http.StatusBadRequest},
		{"garbage after the delivery", item + "}", http.StatusBadRequest},
		{"an item without an end", `{"value":[{"clientState":"`, http.StatusBadRequest},
		{"nesting beyond all measure", `{"value":[{"x":` + strings.Repeat("[", 20_000), http.StatusBadRequest},
		{"nesting where nothing is read", `{"x":` + strings.Repeat(`{"a":`, 12_000), http.StatusBadRequest},
		{"more than may be", `{"value":[],"x":"` + strings.Repeat("a", 100_000) + `"}`, http.StatusRequestEntityTooLarge},
		{"more than may be, in white space", strings.Repeat(" ", 100_001), http.StatusRequestEntityTooLarge},
		{"too many items", `{"value":[` + strings.Repeat("{},", maxItems) + `{}]}`, http.StatusRequestEntityTooLarge},
		{"as many items as may be", `{"value":[` + strings.Repeat("{},", maxItems-1) + `{}]}`, http.StatusAccepted},
		{"an empty delivery", `{"value":[]}`, http.StatusAccepted},
		{"items that are none", `{"value":[null,1,"a",[],{}],"validationTokens":[1,null,{},"a"],"x":{"y":[1,null]}}`, http.StatusAccepted},
		{"tokens before the items", `{"validationTokens":null,"value":[]}`, http.StatusAccepted},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, err := server.Client().Post(server.URL, "application/json", strings.NewReader(c.body))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, c.status, resp.StatusCode)
		})
	}
	settle(t, r.Receiver)
	changes, events := r.sink.told()
	require.Empty(t, changes, "nothing is taken out of a body that is broken")
	require.Empty(t, events)
}

func FuzzDelivery(f *testing.F) {
	r := newRig(f, clock.System(), func(cfg *Config) { cfg.MaxBody = 1 << 16 })
	f.Add(body(f, nil, notification(nil)))
	f.Add(body(f, []string{r.token(f)}, r.rich(f, anaID, "Busy", "InACall", nil)))
	f.Add(body(f, []string{"a.b.c"}, r.rich(f, benID, "Busy", "InACall", map[string]any{"lifecycleEvent": "missed"})))
	f.Add(`{"value":[null,1,{"resourceData":[]}],"value":[],"validationTokens":[1]}`)
	f.Add(`{"value":[{"clientState":"` + secret + `"`)
	f.Fuzz(func(t *testing.T, text string) {
		before := r.Stats()
		answer := post(r.Receiver, "/", text)
		switch answer.Code {
		case http.StatusAccepted:
			if answer.Body.Len() != 0 {
				t.Fatalf("the answer says %q", answer.Body)
			}
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
			if r.Stats().Unreadable != before.Unreadable+1 {
				t.Fatal("not counted")
			}
		default:
			t.Fatalf("status %d", answer.Code)
		}
		settle(t, r.Receiver)
		changes, events := r.sink.take()
		if len(changes)+len(events) > 0 && !strings.Contains(text, secret) && !strings.Contains(text, `\`) {
			t.Fatal("something was told without the secret")
		}
		for _, c := range changes {
			if !guid.MatchString(c.ID) || c.SubscriptionID != subscription {
				t.Fatalf("change %+v", c)
			}
		}
		for _, e := range events {
			if id, _, _ := strings.Cut(e, " "); id != subscription {
				t.Fatalf("event %q", e)
			}
		}
	})
}
