package gateway_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway"
	"ucwagate/graphsrc"
	"ucwagate/mapping"
)

func TestAPersonIsWhatTheDirectorySays(t *testing.T) {
	inBubble(t, "me ana", func(w *world) {
		w.source.arrange(func() {
			u := graphsrc.User{
				ID: "id-ana", DisplayName: "Ana", UserPrincipalName: "ana@contoso.com", Mail: "Ana@contoso.com",
				OtherMails: []string{"ana@CONTOSO.com", "", "ana@home.example"}, JobTitle: "Engineer", Department: "R&D",
				CompanyName: "Contoso", OfficeLocation: "7/12", UserType: "guest",
				BusinessPhones: []string{"+49 (30) 123-45 x67", "1"}, MobilePhone: "none",
			}
			w.source.users["ana@contoso.com"], w.source.users["alias@contoso.net"] = u, u
		})
		who, err := w.Person(w.t.Context(), principal("me"), "sip:Alias@Contoso.net")
		require.NoError(w.t, err)
		want, err := w.Person(w.t.Context(), principal("me"), "ana@contoso.com")
		require.NoError(w.t, err)
		require.Equal(w.t, "alias@contoso.net", who.Address, "as it was asked for")
		who.Address = want.Address
		require.Equal(w.t, want, who)
		require.Equal(w.t, "sip:ana@contoso.com", who.URI)
		require.Equal(w.t, []string{"Ana@contoso.com", "ana@home.example"}, who.EmailAddresses)
		require.Equal(w.t, "tel:+493012345;ext=67", who.WorkPhone)
		require.Empty(w.t, who.MobilePhone, "a number without a digit is none")
		require.True(w.t, who.Guest)
		require.Equal(w.t, []string{"Ana", "Engineer", "R&D", "Contoso", "7/12"}, []string{who.Name, who.Title, who.Department, who.Company, who.Office})
		p, err := w.PresenceOf(w.t.Context(), gateway.Application{}, who)
		require.NoError(w.t, err)
		require.Equal(w.t, mapping.Online, p.Availability)
	})
}

func TestWhatIsWrongWithTheSourceIsSaidInTheProtocolsTerms(t *testing.T) {
	throttled := graph(graphsrc.KindThrottled)
	throttled.RetryAfter = 7 * time.Second
	for _, c := range []struct {
		name  string
		err   error
		want  gateway.Reason
		after time.Duration
	}{
		{"nobody", graph(graphsrc.KindNotFound), gateway.DestinationNotFound, 0},
		{"gone", graph(graphsrc.KindGone), gateway.DestinationNotFound, 0},
		{"not permitted", graph(graphsrc.KindForbidden), gateway.Forbidden, 0},
		{"too late", graph(graphsrc.KindTimeout), gateway.Timeout, 0},
		{"past the caller's deadline", context.DeadlineExceeded, gateway.Timeout, 0},
		{"throttled", throttled, gateway.Unavailable, 7 * time.Second},
		{"down", graph(graphsrc.KindUnavailable), gateway.Unavailable, 0},
		{"without a token", graph(graphsrc.KindUnauthorized), gateway.Unavailable, 0},
		{"garbled", graph(graphsrc.KindMalformed), gateway.Unavailable, 0},
		{"refused", graph(graphsrc.KindInvalid), gateway.Failure, 0},
		{"of no known kind", errors.New("a secret detail"), gateway.Failure, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, "me ana", func(w *world) {
				me, ctx := w.client("me"), w.t.Context()
				w.source.failOne("ana@contoso.com", c.err)
				_, err := w.Contact(ctx, me.app, me.Principal, "ana@contoso.com")
				require.Equal(w.t, c.after, requireReason(w.t, c.want, err).RetryAfter)
				require.ErrorIs(w.t, err, c.err)
				w.source.failOne("ana@contoso.com", nil)
				w.source.failOne("Presence", c.err)
				_, _, err = w.Presence(ctx, me.app, "ana@contoso.com")
				requireReason(w.t, c.want, err)
			})
		})
	}
	t.Run("a caller who left is no error of the source", func(t *testing.T) {
		inBubble(t, "me ana", func(w *world) {
			w.source.failOne("ana@contoso.com", context.Canceled)
			_, err := w.Person(w.t.Context(), principal("me"), "ana@contoso.com")
			require.Equal(w.t, context.Canceled, err)
		})
	})
}

func TestAnAddressThatIsNoneIsNotFound(t *testing.T) {
	inBubble(t, "me", func(w *world) {
		me := w.client("me")
		for address, want := range map[string]gateway.Reason{
			"presenceSubscription":  gateway.NotFound, // rather a wrong path than an address
			"a b@contoso.com":       gateway.DestinationNotFound,
			"ana@elsewhere.example": gateway.DestinationNotFound,
		} {
			_, err := w.Contact(w.t.Context(), me.app, me.Principal, address)
			requireReason(w.t, want, err)
			_, _, err = w.Presence(w.t.Context(), me.app, address)
			requireReason(w.t, want, err)
		}
	})
}

func TestTheSignedInUserIsAlwaysSomebody(t *testing.T) {
	for _, c := range []struct {
		name  string
		who   gateway.Principal
		spoil func(s *source)
		want  string
	}{
		{"by address", principal("me"), nil, "me"},
		{"by object id", gateway.Principal{Address: "login@contoso.com", ObjectID: "id-me"}, nil, "me"},
		{"if the directory does not know them", gateway.Principal{Address: "new@contoso.com", Name: "New"}, nil, "New"},
		{"if nobody knows their name", principal("new"), nil, "new@contoso.com"},
		{"if the directory is out of reach", gateway.Principal{Address: "me@contoso.com", ObjectID: "id-me", Name: "Me"}, func(s *source) {
			s.fail(graph(graphsrc.KindUnavailable))
		}, "Me"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, "me", func(w *world) {
				if c.spoil != nil {
					c.spoil(w.source)
				}
				me, err := w.Me(w.t.Context(), c.who)
				require.NoError(w.t, err)
				require.Equal(w.t, c.who.Address, me.Address)
				require.Equal(w.t, "sip:"+c.who.Address, me.URI)
				require.Equal(w.t, c.want, me.Name)
			})
		})
	}
	t.Run("unless the caller has left", func(t *testing.T) {
		inBubble(t, "me", func(w *world) {
			w.source.fail(context.Canceled)
			_, err := w.Me(w.t.Context(), principal("me"))
			require.ErrorIs(w.t, err, context.Canceled)
		})
	})
}

func TestAWordTheTranslationDoesNotKnowIsLoggedOnce(t *testing.T) {
	var log logged
	inBubble(t, "me ana", func(w *world) {
		me := w.client("me")
		w.source.say("Levitating", "ana")
		for range 3 {
			_, _, err := w.Presence(w.t.Context(), me.app, "ana@contoso.com")
			require.NoError(w.t, err)
		}
		require.Equal(w.t, 1, strings.Count(log.String(), "Levitating"), log.String())
	}, func(s *settings) { s.Logger = log.logger() })
}

func TestWhoHasNoSIPAddressIsNobodysContact(t *testing.T) {
	inBubble(t, "me ana", func(w *world) {
		t := w.t
		guest := graphsrc.User{ID: "id-guest", DisplayName: "Guest", UserPrincipalName: "guest_fabrikam.com#EXT#@contoso.com", UserType: "Guest"}
		w.source.arrange(func() {
			w.source.users["guest_fabrikam.com#ext#@contoso.com"] = guest
			w.source.frequent["id-me"] = []graphsrc.MailboxContact{{Addresses: []string{"guest_fabrikam.com#EXT#@contoso.com"}}, {Addresses: []string{"ana@contoso.com"}}}
		})
		_, err := w.Person(t.Context(), principal("me"), "guest_fabrikam.com#EXT#@contoso.com")
		requireReason(t, gateway.DestinationNotFound, err)
		contacts, err := w.Contacts(t.Context(), principal("me"))
		require.NoError(t, err)
		require.Equal(t, []string{"ana"}, names(contacts))
	}, func(s *settings) { s.Contacts.Default = gateway.FromPeople })
}
