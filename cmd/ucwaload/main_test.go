package main

import (
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for name, c := range map[string]struct {
		values []time.Duration
		p      float64
		want   time.Duration
	}{
		"nothing has no percentile":            {nil, 0.5, 0},
		"one value is every percentile":        {[]time.Duration{7}, 0.99, 7},
		"half of a hundred":                    {hundred, 0.5, 50},
		"99 of a hundred":                      {hundred, 0.99, 99},
		"all of a hundred":                     {hundred, 1, 100},
		"a share between two values goes up":   {[]time.Duration{1, 2, 3}, 0.5, 2},
		"a share below the first value is it":  {[]time.Duration{1, 2, 3}, 0.01, 1},
		"a share above all but the last value": {[]time.Duration{1, 2, 3}, 0.99, 3},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, percentile(c.values, c.p)) })
	}
}

func TestParseMemory(t *testing.T) {
	n, err := parseMemory("Name:\tucwagate\nVmHWM:\t  200000 kB\nVmRSS:\t  123456 kB\nThreads:\t9\n", "VmRSS")
	require.NoError(t, err)
	require.Equal(t, int64(123456)<<10, n)
	for name, status := range map[string]string{
		"a status without the line": "Name:\tucwagate\n", "another unit": "VmRSS:\t1 MB\n", "no number": "VmRSS:\tx kB\n",
	} {
		_, err := parseMemory(status, "VmRSS")
		require.Error(t, err, name)
	}
}

func TestParseCPU(t *testing.T) {
	const after = " S 1 2 3 4 -1 6 7 8 9 10 250 50 0 0 20 0 9 0"
	for name, stat := range map[string]string{
		"a plain name": "42 (ucwagate)" + after, "a name with spaces and a parenthesis": "42 (a ) b 1 2 (c)" + after,
	} {
		cpu, err := parseCPU(stat)
		require.NoError(t, err, name)
		require.Equal(t, 3*time.Second, cpu, name)
	}
	for name, stat := range map[string]string{"nothing": "", "a short line": "42 (x) S 1 2", "no number": "42 (x) S 1 2 3 4 5 6 7 8 9 10 x 50 0"} {
		_, err := parseCPU(stat)
		require.Error(t, err, name)
	}
}

func TestParseTrace(t *testing.T) {
	h, ok := parseTrace("gc 12 @3.141s 2%: 0.026+0.39+0.10 ms clock, 0.05+0.5/1.1/0+0.2 ms cpu, 40->41->33 MB, 42 MB goal, 7 MB stacks, 0 MB globals, 2 P (forced)")
	require.True(t, ok)
	require.Equal(t, heap{live: 33, stacks: 7}, h)
	_, ok = parseTrace(`{"msg":"listening"}`)
	require.False(t, ok)
}

func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clients, people := rapid.IntRange(20, 300).Draw(t, "clients"), rapid.IntRange(100, 2000).Draw(t, "people")
		p := newPlan(clients, people, rapid.IntRange(3, 97).Draw(t, "watch"))
		watchers := make(map[int]int)
		for client := range clients {
			seen := make(map[int]bool)
			for _, person := range p.watchedBy(client) {
				require.True(t, person >= 0 && person < people && !seen[person])
				seen[person] = true
				watchers[person]++
			}
			require.Len(t, seen, p.watch)
			for _, a := range p.audiences {
				require.Equal(t, client >= a.from && client < a.from+a.n, seen[a.person])
			}
		}
		require.Len(t, watchers, p.watched())
		require.Equal(t, []int{1, clients / 10, clients / 10 * 9}, []int{watchers[0], watchers[1], watchers[2]})
	})
}

func TestReadPresences(t *testing.T) {
	many, err := readPresences([]byte(`{"value":[{"id":"a","availability":"Busy"},{"id":"b"}]}`), false)
	require.NoError(t, err)
	require.Equal(t, []presence{{"a", "Busy"}, {ID: "b"}}, many)
	one, err := readPresences([]byte(`{"id":"a","availability":"Away"}`), false)
	require.NoError(t, err)
	require.Equal(t, []presence{{"a", "Away"}}, one)
	_, err = readPresences([]byte("no JSON"), true)
	require.Error(t, err)
}

// TestFleet parks clients in the bare handler and wakes some of them.
func TestFleet(t *testing.T) {
	h := newBareHandler()
	server := httptest.NewServer(h)
	defer server.Close()
	members := make([]*parking, 30)
	for i := range members {
		members[i] = &parking{index: i, path: barePath(i, 60), token: "Bearer x"}
	}
	f, err := park(t.Context(), strings.TrimPrefix(server.URL, "http://"), members, func(p *parking, _ []byte) (string, error) { return p.path, nil })
	require.NoError(t, err)
	defer f.close()
	waiting := func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.parked) == len(members)
	}
	for range 3 {
		require.Eventually(t, waiting, 10*time.Second, time.Millisecond)
		require.NoError(t, post(t.Context(), server.Client(), server.URL+"/wake?from=10&n=20&bytes="+strconv.Itoa(600), nil))
		times, err := f.collect(t.Context(), audience{from: 10, n: 20}, 10*time.Second, "")
		require.NoError(t, err)
		require.Len(t, times, 20)
		require.InDelta(t, 600+bareHead, members[10].size, 3)
	}
	_, err = f.collect(t.Context(), audience{from: 0, n: 1}, time.Millisecond, "")
	require.ErrorContains(t, err, "1 of 1 clients were never told")
}
