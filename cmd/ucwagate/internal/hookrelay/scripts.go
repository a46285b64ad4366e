package hookrelay

import "github.com/redis/rueidis"

// account begins the scripts. KEYS: 1 the stream, with the fields k (kind) and b
// (body); 2 how many of each kind wait, and how many bytes, under the kind and the
// kind with b.
const account = `
local queue, waiting = KEYS[1], KEYS[2]
local function remove(entry)
  local kind, body = entry[2][2], entry[2][4]
  if redis.call('XDEL', queue, entry[1]) == 1 then
    redis.call('HINCRBY', waiting, kind, -1)
    redis.call('HINCRBY', waiting, kind .. 'b', 0 - #body) -- -0 would be no integer
  end
end
`

// pushScript appends an entry if there is room, 1, or answers 0. What has waited
// too long makes room, a few at a time.
//
// ARGV: 1 the kind, 2 the body, 3 and 4 how many of the kind and of its bytes may
// wait, 5 for how many milliseconds.
var pushScript = rueidis.NewLuaScript(account + `
local time = redis.call('TIME')
local oldest = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[5])
for _, entry in ipairs(redis.call('XRANGE', queue, '-', '(' .. oldest, 'COUNT', 4)) do remove(entry) end
if redis.call('XLEN', queue) == 0 then redis.call('DEL', waiting) end

local kind, body = ARGV[1], ARGV[2]
local number = tonumber(redis.call('HGET', waiting, kind) or '0')
local bytes = tonumber(redis.call('HGET', waiting, kind .. 'b') or '0')
if number >= tonumber(ARGV[3]) or bytes + #body > tonumber(ARGV[4]) then return 0 end
redis.call('XADD', queue, '*', 'k', kind, 'b', body)
redis.call('HINCRBY', waiting, kind, 1)
redis.call('HINCRBY', waiting, kind .. 'b', #body)
redis.call('PEXPIRE', queue, ARGV[5])
redis.call('PEXPIRE', waiting, ARGV[5])
return 1
`)

// doneScript removes the entry ARGV 1.
var doneScript = rueidis.NewLuaScript(account + `
for _, entry in ipairs(redis.call('XRANGE', queue, ARGV[1], ARGV[1])) do remove(entry) end
if redis.call('XLEN', queue) == 0 then redis.call('DEL', queue, waiting) end
return 1
`)
