package graphsim

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"
)

func TestNotificationFaultsBendWhatIsSent(t *testing.T) {
	states := []string{"InACall", "InAMeeting", "Busy", "InAConferenceCall"}
	for name, test := range map[string]struct {
		fault NotifyFault
		check func(t *testing.T, c *caller, got []delivery)
	}{
		"silence": {NotifyFault{Silent: true}, func(t *testing.T, c *caller, got []delivery) {
			require.Empty(t, got)
			require.Len(t, c.tenant.Subscriptions(), 1)
		}},
		"drop": {NotifyFault{Drop: 1}, func(t *testing.T, c *caller, got []delivery) {
			require.Empty(t, got)
			require.Equal(t, 12, c.tenant.Stats().Notifications.Dropped)
		}},
		"delay": {NotifyFault{DelayMs: 60_000}, func(t *testing.T, c *caller, got []delivery) {
			require.Empty(t, got)
		}},
		"duplicate": {NotifyFault{Duplicate: 1}, func(t *testing.T, _ *caller, got []delivery) {
			require.Len(t, got, 4)
			require.Len(t, got[0].Value, 6)
			require.Equal(t, got[0].Value[0].ResourceData, got[0].Value[3].ResourceData)
		}},
		"a wrong client state": {NotifyFault{WrongState: true}, func(t *testing.T, _ *caller, got []delivery) {
			require.NotEqual(t, "secret", got[0].Value[0].ClientState)
		}},
		"a wrong signature": {NotifyFault{BadSignature: true}, func(t *testing.T, _ *caller, got []delivery) {
			_, err := got[0].Value[0].open(t)
			require.ErrorIs(t, err, errUntrue)
		}},
		"another order of one user's states": {NotifyFault{Reorder: 1}, func(t *testing.T, c *caller, got []delivery) {
			var told []string
			for _, d := range got {
				for _, item := range d.Value {
					if item.ResourceData.ID == c.tenant.User(3).ID {
						content, err := item.open(t)
						require.NoError(t, err)
						told = append(told, content["activity"])
					}
				}
			}
			require.Equal(t, []string{states[1], states[0], states[3], states[2]}, told)
		}},
		"another order in a request": {NotifyFault{Permute: true}, func(t *testing.T, _ *caller, got []delivery) {
			orders := make(map[string]bool)
			for _, d := range got {
				var order string
				for _, item := range d.Value {
					order += item.ResourceData.ID
				}
				orders[order] = true
			}
			require.Greater(t, len(orders), 1)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, hook := subscriber(t, Config{})
				c.subscribe(resourceOf(ids(t, c.tenant, 3, 3)...), rich(t))
				require.NoError(t, c.tenant.SetFaults(Faults{Notify: test.fault}))
				for _, activity := range states {
					for _, id := range ids(t, c.tenant, 3, 3) {
						require.NoError(t, c.tenant.SetPresence(id, "Busy", activity))
					}
					<-time.After(2 * time.Second)
				}
				test.check(t, c, hook.all())
				if test.fault.DelayMs > 0 {
					<-time.After(time.Minute)
					require.Len(t, hook.all(), 4)
				}
			})
		})
	}
}

func TestBadValidationTokensAreBadInOneWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, hook := subscriber(t, Config{})
		user := c.tenant.User(3).ID
		c.subscribe(resourceOf(user), rich(t))
		key, err := c.tenant.entra.key()
		require.NoError(t, err)
		for i, bad := range badTokens {
			hook.forget()
			require.NoError(t, c.tenant.SetFaults(Faults{Notify: NotifyFault{BadToken: bad}}))
			require.NoError(t, c.tenant.SetPresence(user, "Busy", fmt.Sprint("Task", i)))
			parsed, err := jwt.ParseSigned(hook.next()[0].Tokens[0], []jose.SignatureAlgorithm{jose.RS256})
			require.NoError(t, err)
			var token claims
			require.NoError(t, parsed.UnsafeClaimsWithoutVerification(&token))
			forged := parsed.Claims(&key.private.PublicKey, &token) != nil
			require.Equal(t, bad == "forged", forged)
			require.Equal(t, bad == "expired", token.Expiry.Time().Before(time.Now()))
			require.Equal(t, bad == "audience", !token.Audience.Contains(c.clientID()))
			require.Equal(t, bad == "publisher", token.AppID != publisherID)
			require.Equal(t, bad == "issuer", token.Issuer != "https://sts.windows.net/"+c.tenant.cfg.TenantID+"/")
		}
	})
}
