package signin

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/graphsrc/clock"
)

func testKey(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func newTickets(t testing.TB, lifetime time.Duration, keys ...[]byte) *Tickets {
	t.Helper()
	tickets, err := NewTickets(keys, lifetime, clock.System())
	require.NoError(t, err)
	return tickets
}

var ana = Identity{
	Address: "ana@contoso.test", Name: "Ana Ríos", ObjectID: "6e7b768e-07e2-4810-8459-485f84f8f204",
	TenantID: "84841066-274d-4ec0-a5c1-276be684bdd3", Method: MethodEntra,
}

func TestTicketRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tickets := newTickets(t, 0)
		ticket, expiresIn := tickets.Issue(ana)
		require.Equal(t, DefaultTicketLifetime, expiresIn)
		require.True(t, strings.HasPrefix(ticket, "cwt=AAEB"), "clients know the beginning")
		require.LessOrEqual(t, len(ticket), MaxTicketLength)

		got, err := tickets.Verify(ticket)
		require.NoError(t, err)
		want := ana
		want.Expires = time.Now().Add(DefaultTicketLifetime).Truncate(time.Second)
		require.Empty(t, cmp.Diff(want, got))

		again, _ := tickets.Issue(ana)
		require.NotEqual(t, ticket, again)
	})
}

func TestTicketExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tickets := newTickets(t, time.Hour)
		ticket, _ := tickets.Issue(ana)

		<-time.After(time.Hour - time.Second)
		_, err := tickets.Verify(ticket)
		require.NoError(t, err)

		<-time.After(time.Second)
		_, err = tickets.Verify(ticket)
		require.ErrorIs(t, err, ErrExpired)

		_, err = newTickets(t, time.Hour).Verify(ticket)
		require.ErrorIs(t, err, ErrInvalid, "a forged ticket must not be told from an old one by its expiry")
	})
}

func TestTicketEndsWithTheProofItStandsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tickets := newTickets(t, time.Hour)
		id := ana
		id.Expires = time.Now().Add(90*time.Second + time.Millisecond)
		_, expiresIn := tickets.Issue(id)
		require.Equal(t, 90*time.Second, expiresIn)
		id.Expires = time.Now()
		ticket, expiresIn := tickets.Issue(id)
		require.Empty(t, ticket)
		require.Zero(t, expiresIn)
	})
}

func TestTicketKeyRotation(t *testing.T) {
	before := newTickets(t, 0, testKey(1))
	during := newTickets(t, 0, testKey(2), testKey(1))
	after := newTickets(t, 0, testKey(2))
	old, _ := before.Issue(ana)
	fresh, _ := during.Issue(ana)

	for _, c := range []struct {
		name    string
		tickets *Tickets
		ticket  string
		want    error
	}{
		{"the new key's process still accepts the old key's ticket", during, old, nil},
		{"the new key signs", after, fresh, nil},
		{"a dropped key's ticket is refused", after, old, ErrInvalid},
		{"the old process does not know the new key", before, fresh, ErrInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.tickets.Verify(c.ticket)
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestTicketsWaitForTheirKey(t *testing.T) {
	web, photos, err := NewLateTickets(time.Hour, nil)
	require.NoError(t, err)
	require.Error(t, web.Learn(nil))
	sooner := newTickets(t, 0, testKey(1))
	ticket, _ := sooner.Issue(ana)
	a := newAuthenticator(t, Options{Tickets: web, Photos: photos, Passwords: &source{answer: always(nil), slots: 1}})
	with := func() (Identity, error) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+ticket)
		return a.Authenticate(r)
	}
	_, err = with()
	require.ErrorIs(t, err, ErrUnavailable, "it may be good")
	_, err = a.AuthenticatePhoto("AAEB")
	require.ErrorIs(t, err, ErrUnavailable)
	require.Empty(t, a.PhotoCookie(ana))
	w := post(a.TokenService(gatewayBase), "192.0.2.1", "ana@contoso.test", "p")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "5", w.Header().Get("Retry-After"))

	require.NoError(t, web.Learn([][]byte{testKey(1)}))
	require.NoError(t, photos.Learn([][]byte{testKey(1)}))
	_, err = with()
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, post(a.TokenService(gatewayBase), "192.0.2.1", "ana@contoso.test", "p").Code)
	id, err := a.AuthenticatePhoto(a.PhotoCookie(ana))
	require.NoError(t, err)
	require.Equal(t, ana.Address, id.Address)

	_, _, err = NewLateTickets(time.Millisecond, nil)
	require.ErrorContains(t, err, "less than a second")
}

func TestNewTicketsRefuses(t *testing.T) {
	for _, c := range []struct {
		name     string
		keys     [][]byte
		lifetime time.Duration
		want     string
	}{
		{"a short key", [][]byte{testKey(1), []byte("short")}, 0, "ticket key 2: 5 bytes"},
		{"three keys", [][]byte{testKey(1), testKey(2), testKey(3)}, 0, "at most two"},
		{"the same key twice", [][]byte{testKey(1), testKey(1)}, 0, "the same as ticket key 1"},
		{"a negative lifetime", nil, -time.Hour, "less than a second"},
		{"a lifetime under a second", nil, time.Millisecond, "less than a second"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewTickets(c.keys, c.lifetime, nil)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestTicketRefuses(t *testing.T) {
	tickets := newTickets(t, 0, testKey(1))
	ticket, _ := tickets.Issue(ana)
	for _, c := range []struct{ name, ticket string }{
		{"nothing", ""},
		{"the prefix alone", "cwt="},
		{"no prefix", strings.TrimPrefix(ticket, "cwt=")},
		{"the prefix in capitals", "CWT=" + ticket[4:]},
		{"a cut ticket", ticket[:len(ticket)-1]},
		{"a longer ticket", ticket + "A"},
		{"padding", ticket + "="},
		{"a line break inside", ticket[:40] + "\n" + ticket[40:]},
		{"the other base64 alphabet", "cwt=" + strings.Repeat("+/", 60)},
		{"an overlong ticket", "cwt=" + strings.Repeat("A", 100_000)},
		{"zeroes", "cwt=" + strings.Repeat("A", 200)},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := tickets.Verify(c.ticket)
			require.ErrorIs(t, err, ErrInvalid)
		})
	}
}

func TestTicketWithAnyByteChangedIsRefused(t *testing.T) {
	tickets := newTickets(t, 0, testKey(1))
	ticket, _ := tickets.Issue(ana)
	raw, err := base64.RawURLEncoding.DecodeString(ticket[4:])
	require.NoError(t, err)
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		_, err := tickets.Verify("cwt=" + base64.RawURLEncoding.EncodeToString(changed))
		require.ErrorIs(t, err, ErrInvalid, "byte %d", i)
	}
	for i := range ticket {
		for _, c := range "AZaz09-_" {
			changed := ticket[:i] + string(c) + ticket[i+1:]
			if changed != ticket {
				_, err := tickets.Verify(changed)
				require.ErrorIs(t, err, ErrInvalid, "character %d", i)
			}
		}
	}
}

func TestTicketCarriesEveryIdentityOrNone(t *testing.T) {
	tickets := newTickets(t, 0)
	rapid.Check(t, func(t *rapid.T) {
		id := Identity{
			Address: rapid.StringMatching(`[a-z.+_']{1,200}@[a-z]{1,60}\.test`).Draw(t, "address"),
			Name:    rapid.String().Draw(t, "name"),
			Method:  rapid.SampledFrom([]string{MethodPassword, MethodEntra}).Draw(t, "method"),
		}
		id.ObjectID = rapid.StringMatching(`[0-9a-f-]{0,80}`).Draw(t, "object id")
		ticket, expiresIn := tickets.Issue(id)
		if len(id.Address) > maxAddress || len(id.ObjectID) > maxIDLen {
			require.Empty(t, ticket)
			require.Zero(t, expiresIn)
			return
		}
		require.LessOrEqual(t, len(ticket), MaxTicketLength)
		got, err := tickets.Verify(ticket)
		require.NoError(t, err)
		require.Equal(t, id.Address, got.Address)
		require.Equal(t, id.ObjectID, got.ObjectID)
		require.Equal(t, id.Method, got.Method)
		require.Equal(t, cut(id.Name, maxNameLen), got.Name)
		require.True(t, strings.HasPrefix(id.Name, got.Name))
	})
}

func TestTheLongestTicketFits(t *testing.T) {
	id := Identity{
		Address: strings.Repeat("a", maxAddress-6) + "@b.net", Name: strings.Repeat("é", 200),
		ObjectID: strings.Repeat("1", maxIDLen), TenantID: strings.Repeat("2", maxIDLen), Method: strings.Repeat("m", maxMethodLen),
	}
	tickets := newTickets(t, 0)
	ticket, _ := tickets.Issue(id)
	require.Len(t, ticket, MaxTicketLength)
	got, err := tickets.Verify(ticket)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("é", 64), got.Name)
}

func TestNoTicketForNobody(t *testing.T) {
	tickets := newTickets(t, 0)
	for _, address := range []string{"", "ana", "ana@", "@contoso.test", "a b@contoso.test", "ana@contoso..test", strings.Repeat("a", 300) + "@b.test"} {
		ticket, _ := tickets.Issue(Identity{Address: address})
		require.Empty(t, ticket, address)
	}
}

func FuzzTicketVerify(f *testing.F) {
	tickets := newTickets(f, 0, testKey(1), testKey(2))
	foreign := newTickets(f, 0, testKey(3))
	good, _ := tickets.Issue(ana)
	bad, _ := foreign.Issue(ana)
	for _, seed := range []string{"", "cwt=", good, bad, good[:60], "cwt=AAEBAAAA", strings.ToLower(good)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ticket string) {
		// Only tickets for one person were ever signed with these keys, so
		// whatever is accepted names that person.
		id, err := tickets.Verify(ticket)
		if err != nil {
			require.Zero(t, id)
			require.NotEqual(t, good, ticket)
			return
		}
		id.Expires = time.Time{}
		require.Equal(t, ana, id)
	})
}
