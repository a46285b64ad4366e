package gateway

import (
	"errors"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestWhoFindsNoPlaceToWait(t *testing.T) {
	reason := func(err error) Reason {
		var e *Error
		require.True(t, errors.As(err, &e))
		require.Positive(t, e.RetryAfter)
		require.NotEmpty(t, e.Message)
		return e.Reason
	}
	p := &parking{all: 3, perUser: 2}
	require.NoError(t, p.enter("ana", parkedChannel{"1", ""}))
	require.NoError(t, p.enter("ana", parkedChannel{"1", "tab"}))
	require.Equal(t, TooManyRequests, reason(p.enter("ana", parkedChannel{"2", ""})))
	require.NoError(t, p.enter("ana", parkedChannel{"1", "tab"}), "one that takes the place of another")
	require.NoError(t, p.enter("bo", parkedChannel{"3", ""}))
	require.Equal(t, TooManyWaiting, reason(p.enter("bo", parkedChannel{"4", ""})))
	p.leave("ana", parkedChannel{"1", "tab"})
	require.Equal(t, TooManyWaiting, reason(p.enter("bo", parkedChannel{"4", ""})), "the other one still waits")
	p.leave("ana", parkedChannel{"1", "tab"})
	require.NoError(t, p.enter("bo", parkedChannel{"4", ""}))
}

func TestEveryPlaceIsGivenBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &parking{all: rapid.IntRange(0, 6).Draw(t, "all"), perUser: rapid.IntRange(0, 3).Draw(t, "per user")}
		type place struct {
			user    string
			channel parkedChannel
		}
		var taken []place
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			if len(taken) > 0 && rapid.Bool().Draw(t, "leaves") {
				i := rapid.IntRange(0, len(taken)-1).Draw(t, "who")
				p.leave(taken[i].user, taken[i].channel)
				taken = append(taken[:i], taken[i+1:]...)
				continue
			}
			n := rapid.IntRange(0, 8).Draw(t, "channel") // of user n%3
			one := place{strconv.Itoa(n % 3), parkedChannel{strconv.Itoa(n), ""}}
			if p.enter(one.user, one.channel) == nil {
				taken = append(taken, one)
			}
			channels, ofUser := make(map[place]bool), make(map[string]int)
			for _, x := range taken {
				if !channels[x] {
					channels[x] = true
					ofUser[x.user]++
				}
			}
			require.True(t, p.all == 0 || len(channels) <= p.all)
			for _, n := range ofUser {
				require.True(t, p.perUser == 0 || n <= p.perUser)
			}
		}
		for _, x := range taken {
			p.leave(x.user, x.channel)
		}
		require.Zero(t, p.n)
		require.Empty(t, p.byUser)
	})
}
