package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRatiosAreToTheQuietRunOfTheSameRound(t *testing.T) {
	took := func(d ...time.Duration) map[operation][]time.Duration {
		return map[operation][]time.Duration{presenceOperation: d}
	}
	quiet := &phase{rounds: []map[operation][]time.Duration{took(1, 2), took(10, 20), took(4, 4)}}
	beside := &phase{rounds: []map[operation][]time.Duration{took(1, 6), took(10, 20), took(4, 8)}}
	require.Equal(t, []float64{1, 2, 3}, beside.ratios(quiet, presenceOperation, 0.99))
	require.Equal(t, []float64{1, 1, 1}, beside.ratios(quiet, presenceOperation, 0.5))
	require.InDelta(t, 2, percentileOf(beside.ratios(quiet, presenceOperation, 0.99), 0.5), 0)
	require.Equal(t, time.Duration(8), beside.median(presenceOperation, 0.99))
}

func TestAnHonestClientFollowsItsApplication(t *testing.T) {
	h := &honest{}
	h.prepare("/ucwa/oauth/v1/applications/77/events?ack=3", []string{"sip:ana@contoso.test", "sip:bo@contoso.test"})
	require.Equal(t, "/ucwa/oauth/v1/applications/77/events?ack=3&timeout=1800", h.events)
	require.Equal(t, "/ucwa/oauth/v1/applications/77/people/ana@contoso.test/presence", h.presence)
	require.Equal(t, 2, strings.Count(h.batchBody, "GET /ucwa/oauth/v1/applications/77/people/"))
}
