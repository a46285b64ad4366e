package redisbudget

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/budget/budgettest"
	"ucwagate/graphsrc/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Leftovers()...) }

// clocked is the script itself, but for Redis' clock and what it says of its
// copies: the test's are passed in their place.
type clocked struct {
	*Lessor
	now     func() time.Time
	history string
	copies  []string
}

func newClocked(client rueidis.Client, tenant string, terms budget.LeaseTerms, now func() time.Time) (*clocked, error) {
	script := source
	for call, argument := range map[string]string{
		"redis.call('TIME')": "{ARGV[26], ARGV[27]}", "redis.pcall('INFO', 'replication')": "ARGV[28]",
	} {
		if strings.Count(script, call) != 1 {
			return nil, fmt.Errorf("the script does not read %s once", call)
		}
		script = strings.Replace(script, call, argument, 1)
	}
	l, err := build(Options{Client: client, Prefix: "test", Tenant: tenant, Replicas: terms.Replicas, Terms: terms}, script)
	return &clocked{Lessor: l, now: now}, err
}

// replication is what INFO says.
func (c *clocked) replication() string {
	text := "# Replication\r\nrole:master\r\n"
	for i, state := range c.copies {
		text += fmt.Sprintf("slave%d:ip=127.0.0.1,port=%d,%s\r\n", i, 7000+i, state)
	}
	if c.history != "" {
		text += "master_replid:" + c.history + "\r\nmaster_replid2:" + strings.Repeat("0", 40) + "\r\n"
	}
	return text
}

func (c *clocked) Lease(ctx context.Context, ask budget.Ask) (budget.Grant, error) {
	us := c.now().UnixMicro()
	l := *c.Lessor
	l.tail = append(append([]string(nil), l.tail...), strconv.FormatInt(us/1e6, 10), strconv.FormatInt(us%1e6, 10), c.replication())
	return l.Lease(ctx, ask)
}

// TestTheScriptAndItsDoubleAreTheSame puts the same asks, sensible and not, to the
// script in a real Redis and to the double in memory that the tests of package
// budget run on.
func TestTheScriptAndItsDoubleAreTheSame(t *testing.T) {
	client := redistest.Start(t).Client(t)
	run, leased, recalled, paused := 0, int64(0), 0, 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		now := time.Unix(1_800_000_000, 0)
		clock := func() time.Time { return now }
		terms := budget.DefaultTerms(rapid.IntRange(1, 4).Draw(t, "replicas"))
		script, err := newClocked(client, strconv.Itoa(run), terms, clock)
		require.NoError(t, err)
		double := budgettest.New(terms, clock)
		double.Serve(0, 0)
		members := make([]struct{ seq, heard, holding int64 }, 4)
		plans := []budget.Share{shareOf(100, 45_000, terms.Replicas), shareOf(100, 45_000, terms.Replicas), shareOf(7, 333, terms.Replicas)}
		small := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 3), rapid.Int64Range(0, 120))
		for range rapid.IntRange(30, 200).Draw(t, "asks") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int64{0, 1, 777, 20_000, 100_000, 100_000, 300_000, 900_000, 900_000, 2_000_000, 6_000_000, -5_000_000, 700_000_000}).Draw(t, "passed")) * time.Microsecond)
			i := rapid.IntRange(0, len(members)-1).Draw(t, "member")
			m := &members[i]
			m.seq += rapid.SampledFrom([]int64{1, 1, 1, 1, 2, 0}).Draw(t, "seq")
			ask := budget.Ask{
				Member: string(rune('a' + i)), Seq: uint64(m.seq), Heard: uint64(m.heard),
				Holding: max(m.holding-small.Draw(t, "sent"), 0), Returned: small.Draw(t, "returned"),
				Want: small.Draw(t, "want"), Spare: small.Draw(t, "spare"), Charged: small.Draw(t, "charged") / 20,
				Leave: rapid.IntRange(0, 100).Draw(t, "leave") == 77,
				Share: plans[max(rapid.IntRange(-20, len(plans)-1).Draw(t, "plan"), 0)],
			}
			if rapid.IntRange(0, 60).Draw(t, "went back") == 33 {
				ask.Heard = ask.Seq - 1
			}
			if rapid.IntRange(0, 40).Draw(t, "served otherwise") == 33 {
				history := rapid.SampledFrom([]int64{0, 1, 2, 0x0fedcba98765}).Draw(t, "history")
				script.history, script.copies = "", nil
				if history != 0 {
					script.history = fmt.Sprintf("%012x%028x", history, 77)
				}
				good := int64(0)
				for range rapid.IntRange(0, 3).Draw(t, "copies") {
					state := rapid.SampledFrom([]string{
						"state=online,offset=14,lag=0", "state=online,offset=14,lag=3,type=replica", "state=online,offset=1,lag=4", "state=wait_bgsave,offset=0,lag=0",
					}).Draw(t, "copy")
					if script.copies = append(script.copies, state); strings.Contains(state, "lag=3") || strings.Contains(state, "14,lag=0") {
						good++
					}
				}
				double.Serve(history, good)
			}
			if rapid.IntRange(0, 3).Draw(t, "knows of a pause") == 3 {
				ask.Paused = time.Duration(rapid.IntRange(0, 20_000).Draw(t, "paused")) * time.Millisecond
				ask.Slowed = rapid.Int64Range(0, 50_000).Draw(t, "slowed")
			}
			if rapid.IntRange(0, 100).Draw(t, "throttled") == 77 {
				ask.Throttled = true
				ask.Pause = time.Duration(rapid.IntRange(0, 40).Draw(t, "pause")) * time.Second
				ask.Age = time.Duration(rapid.IntRange(0, 4000).Draw(t, "age")) * time.Millisecond
			}
			got, gotErr := script.Lease(context.Background(), ask)
			want, wantErr := double.Lease(context.Background(), ask)
			if (gotErr != nil) != (wantErr != nil) || got != want {
				t.Fatalf("asked %+v\nscript %+v %v\ndouble %+v %v", ask, got, gotErr, want, wantErr)
			}
			if gotErr != nil {
				require.ErrorIs(t, gotErr, ErrOvertaken)
				continue
			}
			m.holding = ask.Holding + got.Tokens
			if got.Recalled {
				m.holding = 0
				recalled++
			}
			if rapid.IntRange(0, 9).Draw(t, "heard") > 0 {
				m.heard = m.seq
			}
			leased += got.Tokens
			if got.PausedFor > 0 {
				paused++
			}
		}
	})
	t.Logf("%d runs, %d tokens leased, %d recalls, %d answers in a pause", run, leased, recalled, paused)
	require.NotZero(t, leased)
	require.NotZero(t, recalled)
	require.NotZero(t, paused)
}

func shareOf(capacity, rate int64, replicas int) budget.Share {
	n := int64(replicas)
	return budget.Share{Capacity: capacity, Rate: rate, OwnCapacity: capacity / n, OwnRate: rate / n, Window: 30 * time.Second}
}
