package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"ucwagate/gateway"
)

// shards is how many slots at most everything is spread over. It belongs to the
// stored form: replicas that disagree do not find what the others keep.
const shards = 64

// shardOf returns the shard of an id, an address, an owner or a claim.
func shardOf(name string) int {
	h := uint32(2166136261) // FNV-1a
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	return int(h % shards)
}

// key names what a shard keeps but once, keyOf what it keeps of a name.
func (s *Store) key(shard int, kind string) string { return s.base[shard] + kind }

func (s *Store) keyOf(kind, name string) string { return s.base[shardOf(name)] + kind + ":" + name }

type (
	message = rueidis.RedisMessage
	command = rueidis.Completed
)

// call is a run of a script.
type call struct {
	script script
	keys   []string
	args   []string
}

// run runs a script. doing names what for, for the error.
func (s *Store) run(ctx context.Context, doing string, c call) (rueidis.RedisMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	r := s.client.Do(ctx, s.evalsha(c))
	if e, ok := rueidis.IsRedisErr(r.Error()); ok && e.IsNoScript() {
		r = s.client.Do(ctx, s.eval(c))
	}
	m, err := r.ToMessage()
	return m, unavailable(ctx, doing, err)
}

// runAll runs scripts in one trip. The results are in the order of the calls;
// an error of one is an error of all.
func (s *Store) runAll(ctx context.Context, doing string, calls []call) ([]message, error) {
	if len(calls) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return messages(ctx, doing, s.send(ctx, calls))
}

// runEach runs scripts in one trip and hands over what is answered, with the
// place of its call. One member of a cluster that is away keeps nobody from what
// the others answer; it is an error besides.
func (s *Store) runEach(ctx context.Context, doing string, calls []call, take func(int, message)) error {
	if len(calls) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return each(ctx, doing, s.send(ctx, calls), take)
}

// send runs scripts in one trip.
func (s *Store) send(ctx context.Context, calls []call) []rueidis.RedisResult {
	commands := make([]command, len(calls))
	for i, c := range calls {
		commands[i] = s.evalsha(c)
	}
	results := s.client.DoMulti(ctx, commands...)
	var unknown []int
	for i, r := range results {
		if e, ok := rueidis.IsRedisErr(r.Error()); ok && e.IsNoScript() {
			unknown = append(unknown, i)
		}
	}
	if len(unknown) > 0 {
		commands = commands[:0]
		for _, i := range unknown {
			commands = append(commands, s.eval(calls[i]))
		}
		for n, r := range s.client.DoMulti(ctx, commands...) {
			results[unknown[n]] = r
		}
	}
	return results
}

// askAll sends commands in one trip.
func (s *Store) askAll(ctx context.Context, doing string, commands []command) ([]message, error) {
	if len(commands) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return messages(ctx, doing, s.client.DoMulti(ctx, commands...))
}

// askEach sends commands in one trip and hands over what is answered, as runEach.
func (s *Store) askEach(ctx context.Context, doing string, commands []command, take func(int, message)) error {
	if len(commands) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return each(ctx, doing, s.client.DoMulti(ctx, commands...), take)
}

func each(ctx context.Context, doing string, results []rueidis.RedisResult, take func(int, message)) (failed error) {
	for i, r := range results {
		m, err := r.ToMessage()
		if err := unavailable(ctx, doing, err); err != nil {
			failed = err // one of them says what is wrong
			continue
		}
		take(i, m)
	}
	return failed
}

func messages(ctx context.Context, doing string, results []rueidis.RedisResult) ([]message, error) {
	list := make([]message, len(results))
	for i, r := range results {
		m, err := r.ToMessage()
		if err := unavailable(ctx, doing, err); err != nil {
			return nil, err
		}
		list[i] = m
	}
	return list, nil
}

func (s *Store) evalsha(c call) rueidis.Completed {
	return s.client.B().Evalsha().Sha1(c.script.sha).Numkeys(int64(len(c.keys))).Key(c.keys...).Arg(c.args...).Build()
}

func (s *Store) eval(c call) rueidis.Completed {
	return s.client.B().Eval().Script(c.script.text).Numkeys(int64(len(c.keys))).Key(c.keys...).Arg(c.args...).Build()
}

// unavailable wraps what went wrong; that nothing is there is not wrong. What
// the caller has given up is not Redis' fault.
func unavailable(ctx context.Context, doing string, err error) error {
	switch {
	case err == nil || rueidis.IsRedisNil(err):
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	}
	return fmt.Errorf("%s: %w: %w", doing, gateway.ErrUnavailable, err)
}

// The readers of replies. What has another form than the scripts give it reads
// as nothing.

func list(m rueidis.RedisMessage) []message {
	l, _ := m.ToArray()
	return l
}

func text(l []message, i int) string {
	if i >= len(l) {
		return ""
	}
	t, _ := l[i].ToString()
	return t
}

func texts(l []message, i int) []string {
	if i >= len(l) {
		return nil
	}
	t, _ := l[i].AsStrSlice()
	return t
}

func number(l []message, i int) int64 {
	if i >= len(l) {
		return 0
	}
	n, _ := l[i].AsInt64()
	return n
}

// Times of Redis are whole microseconds. What is to come is rounded up, so that
// nobody looks a moment too early.

func micros(t time.Time) string { return strconv.FormatInt(t.UnixMicro(), 10) }

func microsUp(t time.Time) string {
	us := t.UnixMicro()
	if t.Nanosecond()%1000 != 0 {
		us++
	}
	return strconv.FormatInt(us, 10)
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func instant(us string) time.Time {
	n, _ := strconv.ParseInt(us, 10, 64)
	return time.UnixMicro(n).UTC()
}
