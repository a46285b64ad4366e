package notify

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

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
		{"items under two names", `{"value":[],"value":[]}`, http.StatusBadRequest},
		{"items under two names, the second of which is null", `{"value":[{}],"value":null}`, http.StatusBadRequest},
		{"tokens under two names", `{"value":[],"validationTokens":null,"validationTokens":[]}`, http.StatusBadRequest},
		{"too many tokens", `{"value":[],"validationTokens":[` + strings.Repeat("1,", maxItems) + `1]}`, http.StatusRequestEntityTooLarge},
		{"too many of both", `{"value":[` + strings.Repeat("{},", maxItems/2) + `{}],"validationTokens":[` + strings.Repeat("1,", maxItems/2) + `1]}`, http.StatusRequestEntityTooLarge},
		{"too many members that are not read", `{"value":[]` + strings.Repeat(`,"x":1`, maxItems+1) + `}`, http.StatusRequestEntityTooLarge},
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

// endless yields a text, then another without an end, and counts what was read.
type endless struct {
	head, rest string
	n          int64
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.head)
	e.head = e.head[n:]
	for ; n < len(p); n++ {
		p[n] = e.rest[0]
		e.rest = e.rest[1:] + e.rest[:1]
	}
	e.n += int64(n)
	return n, nil
}

func TestNoValueIsHeldThatIsTooLarge(t *testing.T) {
	r := newRig(t, clock.System(), nil)
	for _, c := range []struct{ name, head, rest string }{
		{"a text that is not read", `{"x":"`, "a"},
		{"a list that is not read", `{"x":[0`, ",0"},
		{"an item", `{"value":[{"clientState":"`, "a"},
		{"a later item", `{"value":[` + strings.Repeat(`{},`, 100) + `{"x":[0`, ",0"},
		{"a token", `{"validationTokens":["`, "a"},
		{"a name", `{"`, "a"},
		{"white space", `{`, " "},
		{"white space after the delivery", `{"value":[]}`, " "},
		{"white space instead of a list", `{"value":`, " "},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := &endless{head: c.head, rest: c.rest}
			_, err := r.read(body)
			require.ErrorIs(t, err, errTooMuch)
			require.LessOrEqual(t, body.n, int64(len(c.head)+maxValue))
		})
	}
	for _, head := range []string{`{"value":[{}`, `{"value":[],"validationTokens":[0`} {
		body := &endless{head: head, rest: "," + head[strings.LastIndex(head, "[")+1:]}
		_, err := r.read(body)
		require.ErrorIs(t, err, errTooMuch)
		require.Less(t, body.n, int64(8*maxItems))
	}
	_, err := r.read(strings.NewReader(`{"value":[` + strings.Repeat(`{"x":"`+strings.Repeat("a", maxValue-1000)+`"},`, 20) + `{}]}`))
	require.NoError(t, err, "the bound is for each value, not for all")
}

func TestOnlySoManyDeliveriesAreReadAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, clock.System(), nil)
		var withheld []*io.PipeWriter
		answers := make(chan int, maxReading)
		for range maxReading {
			reader, writer := io.Pipe()
			withheld = append(withheld, writer)
			go func() {
				rec := httptest.NewRecorder()
				r.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/", reader))
				answers <- rec.Code
			}()
			_, err := io.WriteString(writer, `{"x":"`)
			require.NoError(t, err)
		}
		synctest.Wait()
		item := body(t, nil, notification(nil))
		full := post(r.Receiver, "/", item)
		require.Equal(t, http.StatusServiceUnavailable, full.Code)
		require.Equal(t, "10", full.Header().Get("Retry-After"))
		require.Equal(t, "close", full.Header().Get("Connection"))
		require.EqualValues(t, 1, r.Stats().Busy)
		require.Zero(t, r.Stats().Items, "it was not read")
		require.Equal(t, http.StatusOK, post(r.Receiver, "/?validationToken=a", "").Code, "a validation reads no body")

		require.NoError(t, withheld[0].Close())
		require.Equal(t, http.StatusBadRequest, <-answers)
		require.Equal(t, http.StatusAccepted, post(r.Receiver, "/", item).Code)
		for _, w := range withheld[1:] {
			require.NoError(t, w.CloseWithError(io.ErrUnexpectedEOF))
			require.Equal(t, http.StatusBadRequest, <-answers)
		}
		require.Empty(t, r.reading, "every turn has ended")
		require.EqualValues(t, 1, r.Stats().Busy)
	})
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
