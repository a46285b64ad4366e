package redisstore

import (
	"crypto/sha1" //nolint:gosec // it is how Redis names scripts
	"encoding/hex"
)

// script is a Lua script and the name that Redis knows it by.
type script struct{ text, sha string }

func newScript(text string) script {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // see above
	return script{text: text, sha: hex.EncodeToString(sum[:])}
}

// Times are whole microseconds, which a number of Lua holds exactly. A number
// becomes text by %.0f: by itself it would lose digits.

// The state of a session is a version and a mark. They have a field each: one
// that an earlier release has written has no mark, or that of the state before.
const stateOf = `
local function state(v, mark) return v .. '-' .. (mark or '') end
`

// createScript keeps a new application.
//
// KEYS app idle; ARGV id record session used life
var createScript = newScript(`
redis.call('HSET', KEYS[1], 'rec', ARGV[2], 's', ARGV[3], 'v', '1', 'n', '0', 'w', '')
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return 1
`)

// touchScript verifies an application and notes its last use as far as the
// caller knows it. With a replica it notes that P-GETs wait there.
//
// KEYS app idle dead wait in rev; ARGV id now idle used replica until life use
// Returns {0, tombstone} or {1, record, whether the replica was noted} or {2}:
// it was not used for as long as idle.
var touchScript = newScript(`
local rec = redis.call('HGET', KEYS[1], 'rec')
if not rec then return {0, redis.call('GET', KEYS[3])} end
local used = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or '0')
local mine = tonumber(ARGV[4])
if tonumber(ARGV[2]) - math.max(used, mine) >= tonumber(ARGV[3]) then return {2} end
if tonumber(ARGV[8]) > used then redis.call('ZADD', KEYS[2], ARGV[8], ARGV[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[7])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
redis.call('PEXPIRE', KEYS[5], ARGV[7])
redis.call('PEXPIRE', KEYS[6], ARGV[7])
local noted = 1
if ARGV[5] ~= '' then
  local was = redis.call('HGET', KEYS[4], ARGV[5])
  if not was or tonumber(was) <= tonumber(ARGV[2]) then noted = 0 end
  redis.call('HSET', KEYS[4], ARGV[5], ARGV[6])
  redis.call('PEXPIRE', KEYS[4], ARGV[7])
end
return {1, rec, noted}
`)

// endScript ends an application, if idle is not 0 only if it was not used for
// that long, if state is not empty only if it is in that.
//
// KEYS app in rev wait dead due idle subs; ARGV id now idle used tombstone life channel state
// Returns {0, tombstone} or {1, record, session} or {2}: it is in use, or in
// another state.
var endScript = newScript(stateOf + `
local got = redis.call('HMGET', KEYS[1], 'rec', 's', 'n', 'v', 'mark')
if not got[1] then return {0, redis.call('GET', KEYS[5])} end
if ARGV[8] ~= '' and state(got[4], got[5]) ~= ARGV[8] then return {2} end
if ARGV[3] ~= '0' then
  local used = tonumber(redis.call('ZSCORE', KEYS[7], ARGV[1]) or '0')
  if tonumber(ARGV[2]) - math.max(used, tonumber(ARGV[4])) < tonumber(ARGV[3]) then return {2} end
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('ZREM', KEYS[6], ARGV[1])
redis.call('ZREM', KEYS[7], ARGV[1])
if got[3] ~= '0' and redis.call('DECRBY', KEYS[8], got[3]) <= 0 then redis.call('DEL', KEYS[8]) end
if ARGV[5] ~= '' then redis.call('SET', KEYS[5], ARGV[5], 'PX', ARGV[6]) end
redis.call('PUBLISH', ARGV[7], ARGV[1])
return {1, got[1], got[2]}
`)

// loadScript reads a session with its inbox.
//
// KEYS app in dead; ARGV the state that is known
// Returns {0, tombstone} or {1, state, session or nothing if it is known, inbox}.
var loadScript = newScript(stateOf + `
local got = redis.call('HMGET', KEYS[1], 'v', 'mark')
if not got[1] then return {0, redis.call('GET', KEYS[3])} end
local there, s = state(got[1], got[2]), ''
if there ~= ARGV[1] then s = redis.call('HGET', KEYS[1], 's') end
return {1, there, s, redis.call('LRANGE', KEYS[2], 0, -1)}
`)

// commitScript keeps a session if the state is the one that is known and the
// inbox holds as many entries as were queued, and takes them out. If it is given
// the first and the last of these, more may have come behind them, for which the
// session is due at once. (An inbox that overflowed has another first one, and
// whoever has queued that loses nothing.)
//
// KEYS app in dead due subs wait rev
// ARGV id state next session entries deadline subscriptions waiting
// replica until now life wakes channels first last left...
// Returns {0, tombstone} or {1, replica...} or, if something else is there,
// {2, state, session or nothing if it is known, inbox}.
var commitScript = newScript(stateOf + `
local got = redis.call('HMGET', KEYS[1], 'v', 'n', 'mark')
if not got[1] then return {0, redis.call('GET', KEYS[3])} end
local there = state(got[1], got[3])
local held, queued = redis.call('LLEN', KEYS[2]), tonumber(ARGV[5])
local known = held == queued
if held > queued and ARGV[15] ~= '' then
  known = redis.call('LINDEX', KEYS[2], 0) == ARGV[15] and redis.call('LINDEX', KEYS[2], queued - 1) == ARGV[16]
end
if there ~= ARGV[2] or not known then
  local s = ''
  if there ~= ARGV[2] then s = redis.call('HGET', KEYS[1], 's') end
  return {2, there, s, redis.call('LRANGE', KEYS[2], 0, -1)}
end
local v, mark = string.match(ARGV[3], '^(%d+)-(.*)$')
local deadline = ARGV[6]
if held > queued then
  redis.call('LTRIM', KEYS[2], queued, -1)
  deadline = ARGV[11]
else
  redis.call('DEL', KEYS[2])
end
redis.call('HSET', KEYS[1], 'v', v, 'mark', mark, 's', ARGV[4], 'n', ARGV[7], 'w', ARGV[8])
redis.call('PEXPIRE', KEYS[1], ARGV[12])
if deadline == '' then
  redis.call('ZREM', KEYS[4], ARGV[1])
else
  redis.call('ZADD', KEYS[4], deadline, ARGV[1])
  redis.call('PEXPIRE', KEYS[4], ARGV[12])
end
if ARGV[7] ~= got[2] then
  if redis.call('INCRBY', KEYS[5], tonumber(ARGV[7]) - tonumber(got[2])) <= 0 then
    redis.call('DEL', KEYS[5])
  else
    redis.call('PEXPIRE', KEYS[5], ARGV[12])
  end
end
for i = 17, #ARGV do redis.call('HDEL', KEYS[7], ARGV[i]) end
if ARGV[13] ~= '' then
  local all = redis.call('HGETALL', KEYS[6])
  for i = 1, #all, 2 do
    if all[i] ~= ARGV[9] then
      if tonumber(all[i+1]) > tonumber(ARGV[11]) then
        redis.call('PUBLISH', ARGV[14] .. all[i], ARGV[13])
      else
        redis.call('HDEL', KEYS[6], all[i])
      end
    end
  end
end
if ARGV[10] ~= '' then
  redis.call('HSET', KEYS[6], ARGV[9], ARGV[10])
  redis.call('PEXPIRE', KEYS[6], ARGV[12])
end
return {1}
`)

// pushScript leaves an entry in the inboxes of applications and wakes the P-GETs
// whose time it brings forward. high, medium and low are since when the events
// of each class are known, or empty. An application that knows the entry already
// gets it no more; but it may come again since the answer that woke the caller's
// P-GETs was lost, so all P-GETs are told again when to look.
//
// KEYS due, then of each application app in rev wait
// ARGV entry address ms seq now high medium low fold most overflow life replica channels id...
// Returns {the ids that are not there, the wakes of the caller's P-GETs}.
var pushScript = newScript(`
local gone, mine, others = {}, {}, {}
local now = tonumber(ARGV[5])
for i = 15, #ARGV do
  local id, k = ARGV[i], 2 + (i - 15) * 4
  local app, inbox, rev, wait = KEYS[k], KEYS[k+1], KEYS[k+2], KEYS[k+3]
  local w = redis.call('HGET', app, 'w')
  local fresh = true
  if not w then
    gone[#gone+1] = id
    fresh = false
  elseif ARGV[3] ~= '' then
    local ms, seq = string.match(redis.call('HGET', rev, ARGV[2]) or '', '^(%d+)-(%d+)$')
    if ms then
      ms, seq = tonumber(ms), tonumber(seq)
      local m, s = tonumber(ARGV[3]), tonumber(ARGV[4])
      fresh = m > ms or (m == ms and s > seq)
    end
    if fresh then
      redis.call('HSET', rev, ARGV[2], ARGV[3] .. '-' .. ARGV[4])
      redis.call('PEXPIRE', rev, ARGV[12])
    end
  end
  if fresh then
    local n = redis.call('RPUSH', inbox, ARGV[1])
    if n > tonumber(ARGV[10]) then
      redis.call('DEL', inbox)
      redis.call('RPUSH', inbox, ARGV[11])
      n = 1
    end
    if n == 1 then redis.call('PEXPIRE', inbox, ARGV[12]) end
    if n == tonumber(ARGV[9]) then
      redis.call('ZADD', KEYS[1], ARGV[5], id)
      redis.call('PEXPIRE', KEYS[1], ARGV[12])
    end
  end
  if w and w ~= '' then
    local lines, wakes = {}, {}
    for till, medium, low, instance in string.gmatch(w, '(%-?%d+) (%d+) (%d+) ([^\n]*)\n') do
      local at = tonumber(till)
      local sooner = at
      if fresh then
        if ARGV[6] ~= '' then sooner = math.min(sooner, tonumber(ARGV[6])) end
        if ARGV[7] ~= '' then sooner = math.min(sooner, tonumber(ARGV[7]) + tonumber(medium)) end
        if ARGV[8] ~= '' then sooner = math.min(sooner, tonumber(ARGV[8]) + tonumber(low)) end
        if ARGV[1] == ARGV[11] then sooner = math.min(sooner, now) end
      end
      local text = string.format('%.0f', sooner)
      if sooner < at or not fresh then wakes[#wakes+1] = text .. ' ' .. id .. ' ' .. instance .. '\n' end
      lines[#lines+1] = text .. ' ' .. medium .. ' ' .. low .. ' ' .. instance .. '\n'
    end
    if #wakes > 0 then
      if fresh then redis.call('HSET', app, 'w', table.concat(lines)) end
      local words = table.concat(wakes)
      local all = redis.call('HGETALL', wait)
      for j = 1, #all, 2 do
        if tonumber(all[j+1]) <= now then
          redis.call('HDEL', wait, all[j])
        elseif all[j] == ARGV[13] then
          mine[#mine+1] = words
        else
          others[all[j]] = (others[all[j]] or '') .. words
        end
      end
    end
  end
end
for replica, words in pairs(others) do redis.call('PUBLISH', ARGV[14] .. replica, words) end
return {gone, mine}
`)

// dueScript takes applications for the caller alone until then.
//
// KEYS due; ARGV now until id...; returns those that were taken.
var dueScript = newScript(`
local taken = {}
for i = 3, #ARGV do
  local at = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if at and tonumber(at) <= tonumber(ARGV[1]) then
    redis.call('ZADD', KEYS[1], ARGV[2], ARGV[i])
    taken[#taken+1] = ARGV[i]
  end
end
return taken
`)

// backScript makes everything due: the clock was set back.
//
// KEYS due; ARGV now
var backScript = newScript(`
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf')) do
  redis.call('ZADD', KEYS[1], ARGV[1], id)
end
return 1
`)

// enterScript notes that an application watches addresses, and says so if it is
// the first. leaveScript ends that unless a later version has come again.
//
// KEYS set seq index...; ARGV id version life channel head name...
const announce = `
local function announce(lines)
  if #lines == 0 then return end
  local first
  if redis.call('EXISTS', KEYS[2]) == 0 then
    -- Numbers that were used before data was lost are not used again.
    local t = redis.call('TIME')
    first = tonumber(t[1]) * 1000000 + tonumber(t[2])
    redis.call('SET', KEYS[2], string.format('%.0f', first + #lines - 1))
  else
    first = redis.call('INCRBY', KEYS[2], #lines) - #lines + 1
  end
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  redis.call('PUBLISH', ARGV[4], ARGV[5] .. ' ' .. string.format('%.0f', first) .. '\n' .. table.concat(lines, '\n'))
end
`

var enterScript = newScript(announce + `
local lines = {}
for i = 6, #ARGV do
  local index = KEYS[i-3]
  local was = redis.call('HGET', index, ARGV[1])
  if not was or tonumber(was) < tonumber(ARGV[2]) then redis.call('HSET', index, ARGV[1], ARGV[2]) end
  redis.call('PEXPIRE', index, ARGV[3])
  if redis.call('SADD', KEYS[1], ARGV[i]) == 1 then lines[#lines+1] = '+' .. ARGV[i] end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
announce(lines)
return 1
`)

var leaveScript = newScript(announce + `
local lines = {}
for i = 6, #ARGV do
  local index = KEYS[i-3]
  local was = redis.call('HGET', index, ARGV[1])
  if was and tonumber(was) <= tonumber(ARGV[2]) then redis.call('HDEL', index, ARGV[1]) end
  if redis.call('EXISTS', index) == 0 and redis.call('SREM', KEYS[1], ARGV[i]) == 1 then
    lines[#lines+1] = '-' .. ARGV[i]
  end
end
announce(lines)
return 1
`)

// admitScript puts an application on its owner's list. One of the same endpoint
// that is like it stays instead; one that is not like it goes, and so do the
// oldest beyond the limit.
//
// KEYS own; ARGV id endpoint likeness limit life
// Returns {0, the id of the one that stays} or {1, the one replaced or nothing, the oldest...}.
var admitScript = newScript(`
local list = cjson.decode(redis.call('GET', KEYS[1]) or '[]')
local reply, kept = {1, ''}, {}
for _, a in ipairs(list) do
  if a.e ~= ARGV[2] then
    kept[#kept+1] = a
  elseif a.l == ARGV[3] then
    return {0, a.i}
  else
    reply[2] = a.i
  end
end
local limit = tonumber(ARGV[4])
while limit > 0 and #kept >= limit do
  reply[#reply+1] = table.remove(kept, 1).i
end
kept[#kept+1] = {i = ARGV[1], e = ARGV[2], l = ARGV[3]}
redis.call('SET', KEYS[1], cjson.encode(kept), 'PX', ARGV[5])
return reply
`)

// forgetScript takes applications off their owner's list. With nothing to take
// off it extends the life of the list.
//
// KEYS own; ARGV life id...
var forgetScript = newScript(`
local list = cjson.decode(redis.call('GET', KEYS[1]) or '[]')
if #list == 0 then return 0 end
local gone, kept = {}, {}
for i = 2, #ARGV do gone[ARGV[i]] = true end
for _, a in ipairs(list) do
  if not gone[a.i] then kept[#kept+1] = a end
end
if #kept == 0 then
  redis.call('DEL', KEYS[1])
elseif #kept == #list then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
else
  redis.call('SET', KEYS[1], cjson.encode(kept), 'PX', ARGV[1])
end
return #list - #kept
`)

// ownedScript reads the ids of an owner's list.
//
// KEYS own
var ownedScript = newScript(`
local ids = {}
for i, a in ipairs(cjson.decode(redis.call('GET', KEYS[1]) or '[]')) do ids[i] = a.i end
return ids
`)

// claimScript takes a claim that nobody holds.
//
// KEYS claim; ARGV now until life; returns {until, whether it was taken}.
var claimScript = newScript(`
local until_ = redis.call('GET', KEYS[1])
if until_ and tonumber(ARGV[1]) < tonumber(until_) then return {until_, 0} end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return {ARGV[2], 1}
`)

// extendScript puts off the end of a claim that nobody else has taken by now.
//
// KEYS claim; ARGV until next life; returns whether it is the caller's yet.
var extendScript = newScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
`)
