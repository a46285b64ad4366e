package redisshare

import "github.com/redis/rueidis"

// records begins the scripts that read records. KEYS are those of Share.keys.
//
// ARGV: 1 the length of a period in milliseconds.
const records = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local period = math.floor(now / tonumber(ARGV[1]))
local current, previous = KEYS[4 + period % 2], KEYS[4 + (period + 1) % 2]
local function of(key, period)
  return redis.call('HGET', key, '') == string.format('%d', period)
end
local haveCurrent, havePrevious = of(current, period), of(previous, period - 1)

-- lookup returns the records of ids, false for none, and the set of those of the previous period.
local function lookup(ids)
  local found, old = {}, {}
  if #ids == 0 then return found, old end
  if haveCurrent then
    found = redis.call('HMGET', current, unpack(ids))
  else
    for i = 1, #ids do found[i] = false end
  end
  if not havePrevious then return found, old end
  local missing, at = {}, {}
  for i = 1, #ids do
    if not found[i] then missing[#missing + 1] = ids[i]; at[#at + 1] = i end
  end
  if #missing == 0 then return found, old end
  local more = redis.call('HMGET', previous, unpack(missing))
  for i = 1, #missing do
    if more[i] then found[at[i]] = more[i]; old[missing[i]] = true end
  end
  return found, old
end
`

// tell compares readings with the records; see doc.go.
//
// ARGV: 2 milliseconds until keys end, 3 the most entries, 4 who tells, 5 an epoch
// if there is none, 6 milliseconds that entries are kept, 7 readings of people who
// have not changed, each id (16), digest (4), age (3); then for each other one: id,
// age, age of the last activity or -1, flags (i: insist), refusals (1), sequence,
// digest (4), words, words before, and who was shown something else, a line of an
// age and a name for each.
//
// It returns the ids of those of the unchanged of whom the whole reading is needed,
// and ids and records of readings that were refused.
var tellScript = rueidis.NewLuaScript(records + `
local sub, byte, char, len = string.sub, string.byte, string.char, string.len
local function ms(t) return string.format('%013.0f', t) end
local leader, meta, stream = KEYS[1], KEYS[2], KEYS[3]
local ttl = ARGV[2]

local same, ids = ARGV[7], {}
for at = 1, len(same), 23 do ids[#ids + 1] = sub(same, at, at + 15) end
local unchanged = #ids
for at = 8, #ARGV, 10 do ids[#ids + 1] = ARGV[at] end
local found, old = lookup(ids)

local fields, writes, revised, missing, refused = {}, {}, {}, {}, {}
local kept = {}
for i = 1, unchanged do
  local at, rec = (i - 1) * 23 + 1, found[i]
  if rec and sub(rec, 14, 17) == sub(same, at + 16, at + 19) then
    kept[#kept + 1] = sub(same, at, at + 22)
    local a, b, c = byte(same, at + 20, at + 22)
    local read = ms(now - (a * 65536 + b * 256 + c))
    if read > sub(rec, 1, 13) then
      writes[#writes + 1] = ids[i]
      writes[#writes + 1] = read .. sub(rec, 14)
    end
  else
    missing[#missing + 1] = ids[i]
  end
end
if #kept > 0 then
  fields[1] = 'u'
  fields[2] = #kept == unchanged and same or table.concat(kept)
end

for i = unchanged + 1, #ids do
  local at = 8 + (i - unchanged - 1) * 10
  local id, age, active, flags, state, seq, digest, words, before =
    ARGV[at], ARGV[at+1], ARGV[at+2], ARGV[at+3], ARGV[at+4], ARGV[at+5], ARGV[at+6], ARGV[at+7], ARGV[at+8]
  local shown = ARGV[at+9]
  local again = shown ~= ''
  local insist = string.find(flags, 'i', 1, true)
  local read = ms(now - age)
  if active == '-1' then active = '0000000000000' else active = ms(now - active) end
  local rec = found[i]
  local rev, kind = '', 'f'
  if not rec then
    if before ~= words then kind = 'c' end
  else
    local revlen = byte(rec, 32)
    rev = sub(rec, 33, 32 + revlen)
    local seqlen = byte(rec, 33 + revlen)
    local rseq = sub(rec, 34 + revlen, 33 + revlen + seqlen)
    local rwords = sub(rec, 34 + revlen + seqlen)
    local rread, ractive = sub(rec, 1, 13), sub(rec, 19, 31)
    if active < ractive then active = ractive end
    local lower = seq ~= '' and len(seq) == len(rseq) and seq < rseq and not insist
    if rwords == words then
      if read < rread or lower then
        read, seq, digest, state = rread, rseq, sub(rec, 14, 17), sub(rec, 18, 18)
      end
    elseif read < rread or lower then
      kind = ''
      if again then kind = 'f'; read, seq, digest, state, words = rread, rseq, sub(rec, 14, 17), sub(rec, 18, 18), rwords end
      refused[#refused + 1] = id
      refused[#refused + 1] = rec
    else
      kind, before = 'c', rwords
    end
  end
  if again and kind == 'f' then kind = 'a' end
  if kind ~= '' then
    local head, tail = read .. digest .. state .. active, char(len(seq)) .. seq .. words
    fields[#fields + 1] = kind
    fields[#fields + 1] = id .. head .. char(0) .. tail
    if kind == 'c' then
      fields[#fields + 1] = 'b'
      fields[#fields + 1] = before
    elseif kind == 'a' then
      fields[#fields + 1] = 's'
      fields[#fields + 1] = string.gsub(shown, '(%d+)( [^\n]*\n)', function(age, by) return ms(now - age) .. by end)
    end
    writes[#writes + 1] = id
    if kind == 'f' then
      writes[#writes + 1] = head .. char(len(rev)) .. rev .. tail
    else
      writes[#writes + 1] = ''
      revised[#revised + 1] = {#writes, head, tail}
    end
  end
end

if #fields > 0 then
  redis.call('HSETNX', meta, 'epoch', ARGV[5])
  local n = redis.call('HINCRBY', meta, 'n', 1)
  local id = redis.call('XADD', stream, 'MAXLEN', '~', ARGV[3], '*',
    't', ms(now), 'n', n, 'w', ARGV[4], unpack(fields))
  redis.call('HSET', meta, 'last', id)
  -- What is not reported yet stays.
  local mark = string.match(redis.call('HGET', meta, 'mark') or '', '^%d+') or '0'
  local from = math.min(now - ARGV[6], tonumber(mark))
  redis.call('XTRIM', stream, 'MINID', '~', string.format('%.0f', from))
  for _, r in ipairs(revised) do
    writes[r[1]] = r[2] .. char(len(id)) .. id .. r[3]
  end
  redis.call('PEXPIRE', meta, ttl)
  redis.call('PEXPIRE', stream, ttl)
end
if #writes > 0 then
  if not haveCurrent then
    redis.call('UNLINK', current)
    redis.call('HSET', current, '', string.format('%d', period))
  end
  redis.call('HSET', current, unpack(writes))
  local moved = {}
  for i = 1, #writes, 2 do
    if old[writes[i]] then moved[#moved + 1] = writes[i] end
  end
  if #moved > 0 then redis.call('HDEL', previous, unpack(moved)) end
  redis.call('PEXPIRE', current, ttl)
end
return {table.concat(missing), refused}
`)

// recallScript returns the time and the records of the ids in ARGV from 2 on, nil
// for none.
var recallScript = rueidis.NewLuaScript(records + `
local ids = {}
for i = 2, #ARGV do ids[i - 1] = ARGV[i] end
local found = lookup(ids)
return found
`)

// beatScript keeps the lead, or takes it if nobody has it, and tells how things
// stand.
//
// ARGV: 1 who, 2 the lease in milliseconds, 3 an epoch if there is none, 4
// milliseconds until keys end, 5 the term in which the caller leads or 0.
//
// The first of what it returns is 1 for whoever leads, 2 if that has just begun.
// Where the data was lost a new term may have the number of an old one.
var beatScript = rueidis.NewLuaScript(`
local leader, meta, stream = KEYS[1], KEYS[2], KEYS[3]
redis.call('HSETNX', meta, 'epoch', ARGV[3])
local who = redis.call('GET', leader)
local term = tonumber(redis.call('HGET', meta, 'term') or '0')
local leads = 0
if who == ARGV[1] and term == tonumber(ARGV[5]) then
  leads = 1
elseif not who or who == ARGV[1] then
  term = redis.call('HINCRBY', meta, 'term', 1)
  leads = 2
end
if leads > 0 then redis.call('SET', leader, ARGV[1], 'PX', ARGV[2]) end
redis.call('PEXPIRE', meta, ARGV[4])
redis.call('PEXPIRE', stream, ARGV[4])
local time = redis.call('TIME')
local m = redis.call('HMGET', meta, 'epoch', 'n', 'last', 'mark')
return {leads, term, string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), m[1], m[2] or '0', m[3] or '0-0', m[4] or ''}
`)

// markScript moves the mark to ARGV 3 as long as ARGV 1 leads in term ARGV 2.
var markScript = rueidis.NewLuaScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('HGET', KEYS[2], 'term') == ARGV[2] then
  redis.call('HSET', KEYS[2], 'mark', ARGV[3])
  return 1
end
return 0
`)

// resignScript gives the lead up.
var resignScript = rueidis.NewLuaScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
`)
