package redisclock

import "github.com/redis/rueidis"

// tolerance is how far a replica may be off for reasons of its own: a slow trip,
// a clock that runs a little faster. In microseconds.
const tolerance = "2000000"

// tell returns the common time and the clock of Redis.
//
// KEYS: the shift and the latest time that was told. ARGV: what the caller makes
// it or nothing, tolerance, milliseconds until the key ends. Times are whole
// microseconds, as text: a number of Lua holds them exactly, but loses digits when
// it becomes text by itself.
var tell = rueidis.NewLuaScript(`
local t = redis.call('TIME')
local clock = tonumber(t[1]) * 1000000 + tonumber(t[2])
local kept = redis.call('HMGET', KEYS[1], 'shift', 'latest')
local shift, latest = tonumber(kept[1] or '0'), tonumber(kept[2] or '0')
local mine, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2])
if mine then
  local ahead = mine - clock - shift
  if ahead > tolerance or ahead < -tolerance and latest <= mine + tolerance then shift = mine - clock end
elseif latest > clock + shift then
  shift = latest - clock
end
if mine then latest = math.max(latest, clock + shift) end
redis.call('HSET', KEYS[1], 'shift', string.format('%.0f', shift), 'latest', string.format('%.0f', latest))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {string.format('%.0f', clock + shift), string.format('%.0f', clock)}
`)
