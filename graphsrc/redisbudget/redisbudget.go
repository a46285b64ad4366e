// Package redisbudget keeps the bucket that several replicas share in Redis: one
// script, one key per tenant, on Redis' clock.
//
// It owns the script and its key. It must never know what a token is spent on, nor
// how a replica uses what it leases: that is package budget's, which also says why
// all replicas together keep the plan.
//
// # The key
//
//	<prefix>:{<tenant>:budget}:bucket
//
// is a hash with one field for the bucket and one for each replica that is
// remembered. It expires 20 minutes, 11 windows of the plan and the rest of a
// pause after the last ask, and with it everything there is: a bucket that is not
// there is born empty. Being one key, it is lost as a whole or not at all, and lies
// in one slot of a cluster.
//
// # What holds whatever fails
//
// Sends of all replicas in any T are at most capacity + rate x T, so with a plan that
// Validate admits never more than the service's limit. Package budget argues it from
// what a bucket must do; this is how a Redis does it:
//
//   - Each ask is one script, so nothing comes between its steps, and all it writes
//     is lost or kept together.
//   - The script reads master_replid, which every restart and every failover changes,
//     and which the data carry. If the two differ, writes may be lost: the bucket is
//     emptied, and is young. So it does not matter how old a snapshot is, nor how far
//     behind the replica of Redis was that took over.
//   - It counts the replicas of Redis that have confirmed what it wrote within three
//     seconds, and the data carry the most there were. A master that has fewer may be
//     one of two, and pours only for those that it hears. After a day with fewer it
//     takes them for removed.
//   - Losing the key, by an eviction or a restart without data, is a birth.
//
// What remains, and can each time add what is said here:
//
//   - Redis' clock set ahead: one capacity. Set back it costs nothing; nor does
//     another node's clock after a failover.
//   - A Redis that lets scripts use no INFO: one capacity where it loses writes; and
//     while two masters are alive, all that the second one hands out.
//   - Two masters alive for more than a day; or of which the second was never seen as
//     an up-to-date replica of the first, or the first has got another replica in its
//     place: all that the second hands out beyond ten minutes after it took over.
//   - A replica of the gateway on a machine that was suspended, and of which neither
//     clock shows it: what it held, and if it is cut off when it wakes more than ten
//     minutes later, its share until LeaseTerms.Stop.
//   - More replicas of the gateway at once than Options.Replicas: a share for each, while
//     they are cut off.
package redisbudget

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"ucwagate/graphsrc/budget"
)

//go:embed lease.lua
var source string

// missed is after how long at most a server misses a copy: three seconds and what
// whole seconds hide at both ends.
const missed = 5 * time.Second

// ErrOvertaken is the answer to an ask that arrived after a later one.
var ErrOvertaken = errors.New("overtaken by a later ask")

// Options are what a Lessor needs.
type Options struct {
	// Client reaches Redis, 6.2 or later; it is the caller's to close, after the
	// budget. Its own time-outs should not be longer than the terms'.
	Client rueidis.Client
	// Prefix begins the key, as that of all of this gateway.
	Prefix string
	// Tenant tells tenants apart; budgets of one tenant share one bucket. It must
	// not be empty, nor contain braces.
	Tenant string
	// Replicas is the most replicas that are alive at once, at least 1; those of a
	// rolling update count, too. All must be told the same.
	Replicas int
	// Terms are budget.DefaultTerms of Replicas if they are zero.
	Terms budget.LeaseTerms
}

// Lessor is the shared bucket in Redis. It implements budget.Lessor and may serve
// several budgets.
type Lessor struct {
	client rueidis.Client
	script *rueidis.Lua
	key    string
	terms  budget.LeaseTerms
	tail   []string // the arguments that are always the same
}

// New returns a Lessor. It does not contact Redis.
func New(o Options) (*Lessor, error) { return build(o, source) }

func build(o Options, script string) (*Lessor, error) {
	if o.Client == nil {
		return nil, errors.New("sharing a budget: no client")
	}
	if o.Prefix == "" || o.Tenant == "" {
		return nil, errors.New("sharing a budget: prefix and tenant must not be empty")
	}
	for _, c := range o.Prefix + o.Tenant {
		if c == '{' || c == '}' {
			return nil, fmt.Errorf("sharing a budget: braces in prefix %q or tenant %q", o.Prefix, o.Tenant)
		}
	}
	if o.Terms == (budget.LeaseTerms{}) {
		o.Terms = budget.DefaultTerms(o.Replicas)
	}
	o.Terms.Replicas = o.Replicas
	if err := o.Terms.Validate(); err != nil {
		return nil, fmt.Errorf("sharing a budget: %w", err)
	}
	return &Lessor{
		client: o.Client, script: rueidis.NewLuaScript(script),
		key:   o.Prefix + ":{" + o.Tenant + ":budget}:bucket",
		terms: o.Terms,
		tail: []string{
			strconv.Itoa(o.Replicas), micros(o.Terms.Life + o.Terms.Grace), micros(o.Terms.Detect), micros(o.Terms.Forget),
			micros(handover(o.Terms)), micros(o.Terms.Fallback), micros(o.Terms.Quiet()),
		},
	}, nil
}

// handover is how long nothing flows where another server may go on serving the
// data that this one has taken over: it may have stood still for a moment, then
// misses the copy, and then what it has leased beyond its part ends.
func handover(t budget.LeaseTerms) time.Duration {
	return max(t.Fallback, t.Quiet()+missed+t.Life+t.Grace)
}

// Terms implements budget.Lessor.
func (l *Lessor) Terms() budget.LeaseTerms { return l.terms }

// Lease implements budget.Lessor.
func (l *Lessor) Lease(ctx context.Context, ask budget.Ask) (budget.Grant, error) {
	args := append(arguments(ask), l.tail...)
	reply, err := l.script.Exec(ctx, l.client, []string{l.key}, args).AsIntSlice()
	if err != nil {
		return budget.Grant{}, fmt.Errorf("leasing tokens from Redis: %w", err)
	}
	g, err := grantOf(reply)
	if err != nil {
		return budget.Grant{}, fmt.Errorf("leasing tokens from Redis: %w", err)
	}
	return g, nil
}

// arguments are in the order in which the script reads them.
func arguments(ask budget.Ask) []string {
	pause := "-1"
	if ask.Throttled {
		pause = micros(ask.Pause)
	}
	leave := "0"
	if ask.Leave {
		leave = "1"
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	args := make([]string, 0, 25)
	return append(args, ask.Member, strconv.FormatUint(ask.Seq, 10), strconv.FormatUint(ask.Heard, 10),
		number(ask.Holding), number(ask.Returned), number(ask.Want), number(ask.Spare), number(ask.Charged),
		pause, micros(ask.Age), leave,
		number(ask.Share.Capacity), number(ask.Share.Rate), number(ask.Share.OwnCapacity), number(ask.Share.OwnRate),
		micros(ask.Share.Window), micros(ask.Paused), number(ask.Slowed))
}

// grantOf reads the script's reply.
func grantOf(reply []int64) (budget.Grant, error) {
	if len(reply) == 1 && reply[0] == 0 {
		return budget.Grant{}, ErrOvertaken
	}
	if len(reply) != 13 {
		return budget.Grant{}, fmt.Errorf("a reply of %d numbers", len(reply))
	}
	return budget.Grant{
		Tokens: reply[1], Recalled: reply[2] == 1, Again: reply[3] == 1,
		Level: reply[4], Rate: reply[5], Flow: reply[6],
		Wait:      time.Duration(reply[7]) * time.Microsecond,
		PausedFor: time.Duration(reply[8]) * time.Microsecond,
		Members:   int(reply[9]), Ghosts: int(reply[10]), Wanting: int(reply[11]), Reserve: reply[12],
	}, nil
}

func micros(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }
