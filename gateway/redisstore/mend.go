package redisstore

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"ucwagate/gateway/session"
)

// The members of a cluster lose data one by one: applications stay whose entries
// in the indexes are gone with another member. So each shard of an index says of
// which server it was found whole. If that is missing or another server answers,
// which may lack the last changes of the one before, some replica enters again
// what all sessions watch, and lets those that were missing look anew.
//
// A member that comes back without what it wrote last, or another in its place,
// has lost that of the applications of the same shards as well. They are let look
// anew: what says that a change was pushed to them stands with another member,
// and the push is not repeated. A single server loses both. And they may watch
// again whom they had left, of which shards that are whole know nothing: what
// they watch is entered everywhere.
//
// A session may leave an address between being read and being entered. That is
// too much in the index, never too little, and goes with the application.

const (
	// mendClaim is the claim of the replica that mends.
	mendClaim = "mend the indexes"
	// mendFor is how long it lasts after each part of the work. If the replica is
	// lost another begins after that.
	mendFor = time.Minute
	// mendPause keeps Redis free for others, and those who look anew apart. It
	// follows the applications that are read at once, in real time.
	mendPause = 100 * time.Millisecond
)

// source names what a server holds: another one that takes its place, and itself
// after a restart, have another name. A user who may not ask gets none, and
// learns of lost data only by what is missing.
const source = `
local function source()
  local info = redis.pcall('INFO', 'replication')
  return type(info) == 'string' and string.match(info, 'master_replid:(%x+)') or ''
end
local function whole()
  local found = redis.call('GET', KEYS[3])
  if found and string.match(found, '^(%S*) ') == source() and redis.call('EXISTS', KEYS[2]) == 1 then return found end
  return ''
end
`

// membersScript reads the whole of a shard of an index: the number of the last
// change, the names, and how it was found whole or nothing.
//
// KEYS set seq whole
var membersScript = newScript(source + `
return {redis.call('GET', KEYS[2]) or '0', redis.call('SMEMBERS', KEYS[1]), whole()}
`)

// brokenScript asks of a shard which server has it, how it was found whole, and
// whether it ever was.
//
// KEYS set seq whole
var brokenScript = newScript(source + `return {source(), whole(), redis.call('EXISTS', KEYS[3])}`)

// wholeScript notes that a shard lacks nothing, if it is on the same server yet.
//
// KEYS set seq whole; ARGV source name life
var wholeScript = newScript(source + `
if source() ~= ARGV[1] then return 0 end
if redis.call('EXISTS', KEYS[2]) == 0 then
  local t = redis.call('TIME')
  redis.call('SET', KEYS[2], string.format('%.0f', tonumber(t[1]) * 1000000 + tonumber(t[2])), 'PX', ARGV[3])
end
redis.call('SET', KEYS[3], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
return 1
`)

// mendScript enters applications again. Those that were missing and are to be told
// it notes as well: if the reply is lost, or whoever gets it, the next attempt
// finds them entered.
//
// KEYS set seq anew index...; ARGV - tell life channel head, then of each index id version name
// Returns the ids that were missing and are to be told, if tell is not empty.
var mendScript = newScript(announce + `
local lines, missing = {}, {}
for i = 4, #KEYS do
  local id, version, name = ARGV[3*i-6], ARGV[3*i-5], ARGV[3*i-4]
  local was = redis.call('HGET', KEYS[i], id)
  if not was and ARGV[2] ~= '' then
    missing[#missing+1] = id
    redis.call('SADD', KEYS[3], id)
  end
  if not was or tonumber(was) < tonumber(version) then redis.call('HSET', KEYS[i], id, version) end
  redis.call('PEXPIRE', KEYS[i], ARGV[3])
  if redis.call('SADD', KEYS[1], name) == 1 then lines[#lines+1] = '+' .. name end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[3])
announce(lines)
return missing
`)

func (s *Store) rouseMending() {
	select {
	case s.mending <- struct{}{}:
	default:
	}
}

// mendWhenAsked mends broken shards, until the store is closed. It waits until
// whoever entered an address before the loss has kept the session, or has given up;
// without applications there is nobody, unless the last attempt failed.
func (s *Store) mendWhenAsked() {
	for mended := true; ; {
		select {
		case <-s.mending:
		case <-s.ctx.Done():
			return
		}
		if n, _, err := s.Count(s.ctx); err != nil || n > 0 || !mended {
			if !s.pause(2 * s.timeout) {
				return
			}
		}
		var err error
		if mended, err = s.mend(s.ctx); err != nil && s.ctx.Err() == nil {
			s.log.WarnContext(s.ctx, "who is watched could not be made whole; it is tried again soon", "error", err)
		}
		for _, x := range s.indexes() {
			x.recheck()
		}
	}
}

// broken are the shards that may lack something.
func (x *index) broken() (list []int) {
	for i := range x.shards {
		v := &x.shards[i]
		v.mu.Lock()
		if v.broken {
			list = append(list, i)
		}
		v.mu.Unlock()
	}
	return list
}

// recheck lets the broken shards be compared again.
func (x *index) recheck() {
	for _, i := range x.broken() {
		v := &x.shards[i]
		v.mu.Lock()
		v.stale = true
		v.mu.Unlock()
		x.rouse()
	}
}

// place is a shard of an index, wound one that may lack something, on a server.
type (
	place struct {
		index *index
		shard int
	}
	wound struct {
		place
		source string
		back   bool // the server has been whole, and lacks what was written last
	}
)

// harm is what wounds come to.
type harm struct {
	broken map[place]bool
	back   [shards]bool // shards of servers that lack what was written last
}

func harmOf(wounds []wound) (h harm) {
	h.broken = make(map[place]bool, len(wounds))
	for _, w := range wounds {
		h.broken[w.place] = true
		h.back[w.shard] = h.back[w.shard] || w.back
	}
	return h
}

// mend makes broken shards whole, unless another replica is at it, and says whether
// they are. If it fails halfway the claim stays, so that it is not begun again at
// once; but a replica that is closed leaves it to another.
func (s *Store) mend(ctx context.Context) (mended bool, err error) {
	if err := s.lookAnew(ctx); err != nil {
		return false, err
	}
	until, taken, err := s.Claim(ctx, mendClaim, mendFor)
	if err != nil || !taken {
		return false, err
	}
	wounds, err := s.wounds(ctx)
	if err == nil && len(wounds) > 0 {
		err = s.heal(ctx, wounds, until)
	}
	if err == nil || s.ctx.Err() != nil && !errors.Is(err, errDeposed) {
		err = errors.Join(err, s.Release(context.WithoutCancel(ctx), mendClaim))
	}
	return err == nil, err
}

// wounds asks Redis which shards are still broken: another replica may have
// mended them.
func (s *Store) wounds(ctx context.Context) (found []wound, err error) {
	var calls []call
	var asked []place
	for _, x := range s.indexes() {
		for _, shard := range x.broken() {
			asked = append(asked, place{x, shard})
			calls = append(calls, call{script: brokenScript, keys: s.shardKeys(x, shard)})
		}
	}
	replies, err := s.runAll(ctx, "reading whether it is known who is watched", calls)
	for i, m := range replies {
		reply := list(m)
		v := &asked[i].index.shards[asked[i].shard]
		v.mu.Lock()
		if whole := text(reply, 1); whole == "" || v.lost && whole == v.whole {
			found = append(found, wound{asked[i], text(reply, 0), number(reply, 2) == 1})
		}
		v.mu.Unlock()
	}
	return found, err
}

// heal enters what all applications watch into the shards that are broken. until
// is when the claim ends.
func (s *Store) heal(ctx context.Context, wounds []wound, until time.Time) error {
	commands := make([]command, shards)
	for i := range commands {
		commands[i] = s.client.B().Zrange().Key(s.key(i, "idle")).Min("0").Max("-1").Build()
	}
	replies, err := s.askAll(ctx, "reading which applications there are", commands)
	if err != nil {
		return err
	}
	var ids []string
	for i := range replies {
		ids = append(ids, texts(replies, i)...)
	}
	if err := s.recallOwed(ctx); err != nil {
		return err
	}
	s.log.InfoContext(ctx, "who is watched is made whole", "shards", len(wounds), "applications", len(ids))
	harm := harmOf(wounds)
	for part := range slices.Chunk(ids, together) {
		if until, err = s.extendClaim(ctx, mendClaim, until, mendFor); err != nil {
			return err
		}
		if err := s.healSome(ctx, harm, part); err != nil {
			return err
		}
		if !s.pause(mendPause) {
			return ctx.Err()
		}
	}
	if err := s.forgetOwed(ctx); err != nil {
		return err
	}
	calls := make([]call, len(wounds))
	for i, w := range wounds {
		calls[i] = call{
			script: wholeScript, keys: s.shardKeys(w.index, w.shard),
			args: []string{w.source, s.replica + "-" + micros(s.clock.Now()), millis(s.life)},
		}
	}
	_, err = s.runAll(ctx, "noting that it is known who is watched", calls)
	return err
}

// stake is what an application has in an index.
type stake struct{ id, version, name string }

// healSome does so for some applications. Of what was said of an address before
// one was entered again it has heard nothing, so it is to look anew.
func (s *Store) healSome(ctx context.Context, h harm, ids []string) error {
	stakes, err := s.stakes(ctx, h, ids)
	if err != nil {
		return err
	}
	var calls []call
	for p, all := range stakes {
		for part := range slices.Chunk(all, atOnce) {
			calls = append(calls, s.mendCall(p, part))
		}
	}
	for _, id := range ids {
		if h.back[shardOf(id)] && s.client.Mode() == rueidis.ClientModeCluster {
			s.anew[id] = struct{}{}
		}
	}
	failed := s.runEach(ctx, "noting again who is watched", calls, func(_ int, m message) { s.owe(m) })
	return errors.Join(failed, s.lookAnew(ctx))
}

// owe takes in applications that are to look anew.
func (s *Store) owe(m message) {
	ids, _ := m.AsStrSlice()
	for _, id := range ids {
		s.anew[id] = struct{}{}
	}
}

// recallOwed tells whoever was entered by those who tried before, and perhaps was
// not told.
func (s *Store) recallOwed(ctx context.Context) error {
	commands := make([]command, shards)
	for i := range commands {
		commands[i] = s.client.B().Smembers().Key(s.anewKey(i)).Build()
	}
	failed := s.askEach(ctx, "reading who is to look anew", commands, func(_ int, m message) { s.owe(m) })
	return errors.Join(failed, s.lookAnew(ctx))
}

// forgetOwed notes that all have been told.
func (s *Store) forgetOwed(ctx context.Context) error {
	commands := make([]command, shards)
	for i := range commands {
		commands[i] = s.client.B().Del().Key(s.anewKey(i)).Build()
	}
	_, err := s.askAll(ctx, "noting that all were told to look anew", commands)
	return err
}

// anewKey names those who were missing in a shard of the index of addresses, until
// all of them were told.
func (s *Store) anewKey(shard int) string { return s.key(shard, "wanew") }

// stakes reads what applications have in shards that are broken; of those whose own
// server went back, in all.
func (s *Store) stakes(ctx context.Context, h harm, ids []string) (map[place][]stake, error) {
	commands := make([]command, len(ids))
	for i, id := range ids {
		commands[i] = s.client.B().Hmget().Key(s.keyOf("app", id)).Field("rec", "s", "v").Build()
	}
	replies, err := s.askAll(ctx, "reading sessions", commands)
	if err != nil {
		return nil, err
	}
	stakes := make(map[place][]stake)
	for i, id := range ids {
		kept := texts(replies, i)
		if len(kept) < 3 || kept[0] == "" {
			continue // it has ended
		}
		app, err := decodeApplication(kept[0])
		var sess session.Session
		if err = errors.Join(err, sess.UnmarshalBinary([]byte(kept[1]))); err != nil {
			s.log.WarnContext(ctx, "what an application watches cannot be read", "application", id, "error", err)
			continue
		}
		enter := func(x *index, name string) {
			if p := (place{x, shardOf(name)}); h.broken[p] || h.back[shardOf(id)] {
				stakes[p] = append(stakes[p], stake{id, kept[2], name})
			}
		}
		for _, address := range sess.Watched() {
			enter(s.watched, address)
		}
		if sess.Available() {
			enter(s.present, app.Owner)
		}
	}
	return stakes, nil
}

// mendCall enters stakes in a shard.
func (s *Store) mendCall(p place, stakes []stake) call {
	tell := ""
	if p.index == s.watched {
		tell = "1"
	}
	keys := append(s.shardKeys(p.index, p.shard)[:2], s.anewKey(p.shard))
	args := s.noteArgs(p.index, p.shard, "", tell)
	for _, k := range stakes {
		keys = append(keys, s.keyOf(p.index.kind, k.name))
		args = append(args, k.id, k.version, k.name)
	}
	return call{script: mendScript, keys: keys, args: args}
}

// lookAnew tells the applications that are owed it that events were lost on
// their way to them.
func (s *Store) lookAnew(ctx context.Context) error {
	if len(s.anew) == 0 {
		return nil
	}
	what := pushed{entry: overflow, now: s.clock.Now()}
	calls := s.pushCalls(what, slices.Collect(maps.Keys(s.anew)))
	err := s.runEach(ctx, "telling applications to look anew", calls, func(i int, m message) {
		for _, lines := range texts(list(m), 1) {
			s.woken(lines)
		}
		for _, id := range calls[i].args[beforeIDs:] {
			delete(s.anew, id)
		}
	})
	return err
}
