package signin

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/graphsrc/clock"
)

func (a *Attempts) failTimes(n int, account, address string) {
	for range n {
		a.Failed(account, address)
	}
}

func requireAllowed(t *testing.T, a *Attempts, account, address string) {
	t.Helper()
	wait, ok := a.Allow(account, address)
	require.True(t, ok)
	require.Zero(t, wait)
}

func requireRefused(t *testing.T, a *Attempts, account, address string) time.Duration {
	t.Helper()
	wait, ok := a.Allow(account, address)
	require.False(t, ok)
	require.Positive(t, wait)
	require.LessOrEqual(t, wait, time.Minute)
	return wait
}

func TestAnAddressIsLimitedOverAllAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAttempts(10, clock.System())
		for i := range 10 {
			account := fmt.Sprintf("user%d@contoso.test", i)
			requireAllowed(t, a, account, "192.0.2.1")
			a.Failed(account, "192.0.2.1")
		}
		wait := requireRefused(t, a, "another@contoso.test", "192.0.2.1")
		require.InDelta(t, 6, wait.Seconds(), 0.01)
		requireAllowed(t, a, "user1@contoso.test", "192.0.2.2")

		<-time.After(wait)
		requireAllowed(t, a, "another@contoso.test", "192.0.2.1")
		a.Failed("another@contoso.test", "192.0.2.1")
		requireRefused(t, a, "another@contoso.test", "192.0.2.1")

		<-time.After(time.Minute)
		a.failTimes(9, "x", "192.0.2.1")
		requireAllowed(t, a, "x", "192.0.2.1")
	})
}

func TestAnAccountIsLimitedOverAllAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAttempts(10, clock.System())
		a.failTimes(10, "ana", "192.0.2.1")
		a.failTimes(10, "ana", "192.0.2.2")
		requireAllowed(t, a, "ana", "192.0.2.3")
		a.failTimes(10, "ana", "192.0.2.3")
		requireRefused(t, a, "ana", "192.0.2.4")
		requireAllowed(t, a, "bo", "192.0.2.4")
	})
}

func TestOneAttackerCannotLockAnAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAttempts(10, clock.System())
		for range 10 * 60 { // ten minutes of trying as soon as it may
			for {
				if _, ok := a.Allow("ana", "192.0.2.66"); !ok {
					break
				}
				a.Failed("ana", "192.0.2.66")
			}
			requireAllowed(t, a, "ana", "192.0.2.1")
			<-time.After(time.Second)
		}
	})
}

func TestAKnownPairIsNotLockedOutByAnybodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAttempts(10, clock.System())
		a.Succeeded("ana", "192.0.2.1:5061")
		for i := range 100 {
			a.failTimes(10, "ana", fmt.Sprintf("198.51.100.%d", i))
		}
		a.failTimes(100, "bo", "192.0.2.1")
		requireAllowed(t, a, "ana", "192.0.2.1:40000")
		requireRefused(t, a, "bo", "192.0.2.1")
		requireRefused(t, a, "ana", "192.0.2.2")

		a.failTimes(10, "ana", "192.0.2.1")
		requireRefused(t, a, "ana", "192.0.2.1")
		<-time.After(pairMemory)
		a.failTimes(100, "bo", "192.0.2.1")
		requireRefused(t, a, "ana", "192.0.2.1")
	})
}

func TestSuccessForgivesTheAccountButNotTheAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAttempts(10, clock.System())
		a.failTimes(10, "ana", "192.0.2.1")
		a.failTimes(10, "ana", "192.0.2.2")
		a.failTimes(9, "ana", "192.0.2.3")
		a.Succeeded("ana", "192.0.2.3")
		a.failTimes(10, "ana", "192.0.2.3")
		requireRefused(t, a, "ana", "192.0.2.3")
		requireAllowed(t, a, "ana", "192.0.2.4")
		requireRefused(t, a, "bo", "192.0.2.1")
	})
}

func TestClientAddresses(t *testing.T) {
	for _, c := range []struct{ name, address, want string }{
		{"an IPv4 address", "192.0.2.1", "192.0.2.1"},
		{"an IPv4 address with a port", "192.0.2.1:443", "192.0.2.1"},
		{"an IPv4 address in IPv6 clothes", "[::ffff:192.0.2.1]:443", "192.0.2.1"},
		{"an IPv6 address is its network", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"an IPv6 address with a port", "[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"},
		{"an IPv6 address with a zone", "fe80::1%eth0", "fe80::/64"},
		{"a unix socket", "@", "@"},
		{"nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, Network(c.address)) })
	}
}

func TestMemoryOfAttemptsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAttempts(1, clock.System())
		for i := range maxBuckets + 5000 {
			a.charge(bucketKey{byte(i), byte(i >> 8), byte(i >> 16)}, 1, time.Now())
		}
		require.LessOrEqual(t, len(a.buckets), maxBuckets)

		a.Succeeded("ana", "192.0.2.1")
		<-time.After(2 * time.Minute)
		for i := range maxBuckets {
			a.charge(bucketKey{byte(i), byte(i >> 8), byte(i >> 16), 1}, 1, time.Now())
			<-time.After(10 * time.Millisecond)
		}
		require.Less(t, len(a.buckets), maxBuckets/2, "idle buckets leave while others come")
		_, known := a.buckets[attemptKeys("ana", "192.0.2.1").pair]
		require.True(t, known)
	})
}

func TestNobodyWaitsLongerThanAMinute(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		perMinute := rapid.IntRange(-1, 100).Draw(rt, "per minute")
		moves := rapid.SliceOf(rapid.IntRange(0, 5)).Draw(rt, "moves")
		synctest.Test(t, func(t *testing.T) {
			a := NewAttempts(perMinute, nil)
			for _, m := range moves {
				switch m {
				case 0:
					a.Succeeded("ana", "192.0.2.1")
				case 1, 2:
					a.failTimes(m*200, "ana", fmt.Sprintf("192.0.2.%d", m))
				default:
					<-time.After(time.Duration(m) * 500 * time.Millisecond)
				}
				if wait, ok := a.Allow("ana", "192.0.2.1"); !ok {
					require.LessOrEqual(t, wait, time.Minute)
					<-time.After(wait)
					requireAllowed(t, a, "ana", "192.0.2.1")
				}
			}
		})
	})
}
