package gateway_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/gateway/memory"
	"ucwagate/gateway/session"
	"ucwagate/graphsrc/clock"
)

func request(endpoint string) gateway.ApplicationRequest {
	return gateway.ApplicationRequest{Culture: "en-US", UserAgent: "test", EndpointID: endpoint}
}

func TestAnApplicationIsMadeFromWhatItsClientSays(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*gateway.ApplicationRequest)
		wrong  []string
	}{
		{"all there is", func(*gateway.ApplicationRequest) {}, nil},
		{"the longest values, counted in characters", func(r *gateway.ApplicationRequest) { r.EndpointID = strings.Repeat("é", 100) }, nil},
		{"a type in any case", func(r *gateway.ApplicationRequest) { r.Type = "browser" }, nil},
		{"nothing", func(r *gateway.ApplicationRequest) { *r = gateway.ApplicationRequest{} }, []string{"culture", "endpointId", "userAgent"}},
		{"a value that is too long", func(r *gateway.ApplicationRequest) { r.UserAgent = strings.Repeat("x", 101) }, []string{"userAgent"}},
		{"an instance that is too long", func(r *gateway.ApplicationRequest) { r.InstanceID = strings.Repeat("x", 101) }, []string{"instanceId"}},
		{"a type nobody knows", func(r *gateway.ApplicationRequest) { r.Type = "Phone" }, []string{"type"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, "me", func(w *world) {
				r := request("e")
				c.change(&r)
				app, err := w.CreateApplication(w.t.Context(), principal("me"), r)
				if c.wrong != nil {
					var named []string
					for _, p := range requireReason(w.t, gateway.InvalidParameter, err).Parameters {
						named = append(named, p.Name)
					}
					require.Equal(w.t, c.wrong, named)
					return
				}
				require.NoError(w.t, err)
				require.Regexp(w.t, `^[1-9][0-9]{14}$`, app.ID)
				require.Regexp(w.t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, app.PassThrough)
				require.Equal(w.t, "me@contoso.com", app.Owner)
				require.Contains(w.t, []string{"", "Browser"}, app.Type)
				got, err := w.Application(w.t.Context(), principal("me"), app.ID)
				require.NoError(w.t, err)
				require.Equal(w.t, app, got)
			})
		})
	}
}

func TestTheSameEndpointGetsTheSameApplication(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		one, two := w.endpoint("me", "e", "", "en-US"), w.endpoint("me", "e", "", "en-US")
		require.Equal(w.t, one.app, two.app)
		other := w.endpoint("me", "e", "", "de-DE")
		require.NotEqual(w.t, one.app.ID, other.app.ID)
		_, err := w.Application(w.t.Context(), principal("me"), one.app.ID)
		requireReason(w.t, gateway.ApplicationNotFound, err)
	})
}

func TestOnlyUsersOfATenantThatIsServedAreAdmitted(t *testing.T) {
	at := func(address, tenant string) gateway.Principal {
		return gateway.Principal{Address: address, TenantID: tenant}
	}
	for _, c := range []struct {
		name string
		who  gateway.Principal
		want bool
	}{
		{"with a password", at("me@contoso.com", ""), true},
		{"with a token of the tenant, in any case", at("me@contoso.net", strings.ToUpper(tenantID)), true},
		{"not with a token of another tenant", at("me@contoso.com", "7a1f2d3c-0000-4000-8000-000000000002"), false},
		{"not from another domain", at("me@elsewhere.example", ""), false},
		{"not without a domain", at("me", ""), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, "me", func(w *world) {
				_, err := w.CreateApplication(w.t.Context(), c.who, request("e"))
				if c.want {
					require.NoError(w.t, err)
					return
				}
				requireReason(w.t, gateway.Forbidden, err)
				mine := w.client("me")
				_, err = w.Application(w.t.Context(), c.who, mine.app.ID)
				requireReason(w.t, gateway.Forbidden, err)
				requireReason(w.t, gateway.Forbidden, w.DeleteApplication(w.t.Context(), c.who, mine.app.ID, ""))
			})
		})
	}
}

func TestSomebodyElsesApplicationLooksLikeOneThatNeverWas(t *testing.T) {
	inBubble(t, "me you", func(w *world) {
		me, ctx := w.client("me"), w.t.Context()
		_, foreign := w.Application(ctx, principal("you"), me.app.ID)
		_, never := w.Application(ctx, principal("you"), "123456789012345")
		require.Equal(w.t, never, foreign)
		requireReason(w.t, gateway.ApplicationNotFound, foreign)
		require.Equal(w.t, never, w.DeleteApplication(ctx, principal("you"), me.app.ID, ""))
		_, err := w.Application(ctx, me.Principal, me.app.ID)
		require.NoError(w.t, err)
	})
}

func TestANewApplicationPushesTheOldestOfItsUserOut(t *testing.T) {
	inBubble(t, "me you", func(w *world) {
		yours, oldest := w.client("you"), w.client("me")
		second, _ := w.client("me"), w.client("me")
		_, err := w.Application(w.t.Context(), oldest.Principal, oldest.app.ID)
		requireReason(w.t, gateway.TooManyApplications, err)
		for _, c := range []*client{yours, second} {
			_, err := w.Application(w.t.Context(), c.Principal, c.app.ID)
			require.NoError(w.t, err)
		}
	}, func(s *settings) { s.Limits.ApplicationsPerUser = 2 })
}

func TestAFullGatewayIsBusy(t *testing.T) {
	inBubble(t, "me you", func(w *world) {
		w.client("me")
		_, err := w.CreateApplication(w.t.Context(), principal("you"), request("e"))
		require.Positive(w.t, requireReason(w.t, gateway.Busy, err).RetryAfter)
		require.ErrorIs(w.t, err, gateway.ErrFull)
	}, func(s *settings) { s.memory.Max = 1 })
}

// broken is a store that fails while it is told to.
type broken struct {
	gateway.Store
	err atomic.Pointer[error]
}

func (b *broken) fail(err error) { b.err.Store(&err) }

func (b *broken) failing() error {
	if err := b.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (b *broken) Create(ctx context.Context, a gateway.Application, limit int) (gateway.Application, bool, error) {
	if err := b.failing(); err != nil {
		return gateway.Application{}, false, err
	}
	return b.Store.Create(ctx, a, limit)
}

func (b *broken) Use(ctx context.Context, id string) (gateway.Application, error) {
	if err := b.failing(); err != nil {
		return gateway.Application{}, err
	}
	return b.Store.Use(ctx, id)
}

func (b *broken) Delete(ctx context.Context, id string) error {
	return errors.Join(b.failing(), b.Store.Delete(ctx, id))
}

func (b *broken) Update(ctx context.Context, id string, f func(*session.Session) error) error {
	if err := b.failing(); err != nil {
		return err
	}
	return b.Store.Update(ctx, id, f)
}

func (b *broken) Publish(ctx context.Context, address string, events ...*session.Event) error {
	if err := b.failing(); err != nil {
		return err
	}
	return b.Store.Publish(ctx, address, events...)
}

func (b *broken) Due(ctx context.Context, now time.Time, limit int) ([]string, error) {
	if err := b.failing(); err != nil {
		return nil, err
	}
	return b.Store.Due(ctx, now, limit)
}

func TestAStoreThatFailsIsAFailureThatTellsNothing(t *testing.T) {
	var store *broken
	var log logged
	inBubble(t, "me ana", func(w *world) {
		me, gone, ctx := w.client("me"), w.client("me"), w.t.Context()
		me.subscribe("ana")
		p, left := me.pget(session.Poll{}), gone.pget(session.Poll{})
		store.fail(errors.New("a secret detail"))
		_, err := w.CreateApplication(ctx, me.Principal, request("e"))
		requireReason(w.t, gateway.Failure, err)
		_, err = w.Application(ctx, me.Principal, me.app.ID)
		requireReason(w.t, gateway.Failure, err)
		_, err = w.Subscriptions(ctx, me.app)
		requireReason(w.t, gateway.Failure, err)
		left.cancel()
		<-left.done
		require.ErrorIs(w.t, left.err, context.Canceled)
		<-p.done
		requireReason(w.t, gateway.Failure, p.err)
		w.source.say("Busy", "ana")
		for _, line := range []string{"could not tell what is due", "change could not be published", "could not be unregistered"} {
			require.Contains(w.t, log.String(), line)
		}
		store.fail(nil)
		require.Len(w.t, me.next(), 3, "nothing that was queued is lost")
	}, func(s *settings) {
		s.Logger = log.logger()
		s.wrap = func(inner gateway.Store) gateway.Store {
			store = &broken{Store: inner}
			return store
		}
	})
}

func TestAGatewayIsNotBuiltFromNonsense(t *testing.T) {
	store, err := memory.New(memory.Options{Clock: clock.System()})
	require.NoError(t, err)
	t.Cleanup(store.Close)
	tenant := func(name, domain string) gateway.Tenant {
		return gateway.Tenant{Name: name, Domains: []string{domain}, Source: newSource()}
	}
	for _, c := range []struct {
		name    string
		options gateway.Options
		want    string
	}{
		{"without a store", gateway.Options{Clock: clock.System(), Tenants: []gateway.Tenant{tenant("a", "a.example")}}, "store"},
		{"without a clock", gateway.Options{Store: store, Tenants: []gateway.Tenant{tenant("a", "a.example")}}, "clock"},
		{"without a tenant", gateway.Options{Store: store, Clock: clock.System()}, "tenant with a domain"},
		{"with a tenant without a source", gateway.Options{Store: store, Clock: clock.System(), Tenants: []gateway.Tenant{{Name: "a"}}}, "no source"},
		{"with a domain of two tenants", gateway.Options{
			Store: store, Clock: clock.System(), Tenants: []gateway.Tenant{tenant("a", "x.example"), tenant("b", "X.Example")},
		}, `"a" and "b"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := gateway.New(c.options)
			require.ErrorContains(t, err, c.want)
		})
	}
}
