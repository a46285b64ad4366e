-- One ask of one replica, settled with the bucket that all share.
--
-- The numbers: a token is 1e9 units, a rate is in thousandths of a token per
-- second, time is in microseconds, so that rate x time is units and everything
-- is an integer below 2^53.
local token = 1e9
local day = 86400 * 1e6

local key = KEYS[1]
local id = ARGV[1]
local n = {}
for i = 2, #ARGV do n[i] = tonumber(ARGV[i]) end
local seq, heard, holding, returned, want, spare, charged = n[2], n[3], n[4], n[5], n[6], n[7], n[8]
local pause, age, leaving = n[9], n[10], n[11] == 1
local capacity, rate, ownCapacity, ownRate, window = n[12], n[13], n[14], n[15], n[16]
local pausedFor, slowed = n[17], n[18] -- as far as the replica knows
local replicas, life, detect, forget = n[19], n[20], n[21], n[22]
local handover, leap, quiet = n[23], n[24], n[25]
local late = 3 -- seconds; a copy says once a second how far it is

local function numbers(s)
  local t = {}
  for x in string.gmatch(s, '%S+') do t[#t + 1] = tonumber(x) end
  return t
end

local function text(...)
  local t = {...}
  for i = 1, #t do t[i] = string.format('%.0f', t[i]) end
  return table.concat(t, ' ')
end

-- Who and what there is. A bucket that is not there is born empty, and nothing
-- flows into it while leases of one that was lost may be alive.
local b
local members = {}
local stored = redis.call('HGETALL', key)
for i = 1, #stored, 2 do
  local x = numbers(stored[i + 1])
  if stored[i] == 'bucket' then
    b = {now = x[1], seen = x[2], level = x[3], rate = x[4], filled = x[5], paused = x[6], raise = x[7], cut = x[8],
      born = x[9] or 0, by = x[10] or 0, copies = x[11] or 0, whole = x[12] or 0}
  else
    members[stored[i]] = {seq = x[1], last = x[2], sure = x[3], joined = x[4], out = x[5], till = x[6], wanting = x[7],
      sparing = x[8], capacity = x[9], rate = x[10], ownCapacity = x[11], ownRate = x[12]}
  end
end
local me = members['m:' .. id]
if me and seq <= me.seq then return {0} end -- overtaken by a later ask

-- The history of data that this server writes, a number that every restart and
-- every takeover changes, and how many servers have a copy of it that is up to date.
-- A server that does not say so to scripts writes the history 0.
local history, copies = 0, 0
local replication = redis.pcall('INFO', 'replication')
if type(replication) == 'string' then
  history = tonumber(string.sub(string.match(replication, 'master_replid:(%x+)') or '0', 1, 12), 16)
  for lag in string.gmatch(replication, 'slave%d+:[^\r\n]*state=online[^\r\n]*lag=(%d+)') do
    if tonumber(lag) <= late then copies = copies + 1 end
  end
end

-- Redis' clock, which may be set back or ahead, made into one that only grows, and
-- does not leap: who has been silent for so long is cut off all the same.
local clock = redis.call('TIME')
local reading = tonumber(clock[1]) * 1e6 + tonumber(clock[2])
local found = b ~= nil
if not found then
  b = {now = 0, seen = reading, level = 0, rate = rate, filled = life, paused = 0, raise = 0, cut = -1,
    born = 0, by = history, copies = copies, whole = 0}
end
local before = b.now
local now = before + math.max(math.min(reading - b.seen, leap), 0)
b.now, b.seen = now, reading

-- Data may be of an earlier time if another server serves them than wrote them, or
-- if somebody has heard what is not known here. What was leased since then, and to
-- whom, is unknown: the bucket is emptied, nothing flows until all of it is void,
-- and it is as young as if it had just been born. Where there are copies, the server
-- that had the data before may go on serving others: until it knows that it has lost
-- a copy, and has missed those who are here, nothing flows either.
local ahead = heard > 0 and (not me or heard > me.seq)
local moved = history ~= 0 and b.by ~= 0 and history ~= b.by
local distrusted = found and (moved or ahead and (me or history == 0 or b.copies > 0))
if distrusted then
  b.level = math.min(b.level, 0)
  b.filled = math.max(b.filled, now + (b.copies > 0 and handover or life))
  b.born = now
  for _, m in pairs(members) do
    m.last, m.sure = math.min(m.last, now - detect), math.min(m.sure, now - detect)
  end
end
if history ~= 0 then b.by = history end

-- A copy that is missing, or was not heard of for a while, may have been made the
-- server of others. They are as unknown here as to a bucket that is young.
if copies >= b.copies then
  b.copies, b.whole = copies, now
elseif now - b.whole >= day then
  b.copies, b.whole = copies, now -- taken away for good
end
if copies < b.copies or b.copies > 0 and now - before >= quiet then b.born = now end

-- The smallest plan of all holds for all. Those cut off may pour their own share
-- until they are forgotten: it is set aside, but for no more than can be alive.
-- While the bucket is young there may be some it has never heard of.
local planCapacity, planRate = capacity, rate
local asideCapacity, asideRate = ownCapacity, ownRate
local ghosts, established, live, out = 0, 0, 0, 0
for _, m in pairs(members) do
  planCapacity, planRate = math.min(planCapacity, m.capacity), math.min(planRate, m.rate)
  asideCapacity, asideRate = math.max(asideCapacity, m.ownCapacity), math.max(asideRate, m.ownRate)
  out = out + m.out
  if now - m.sure >= detect then
    ghosts = ghosts + 1
  else
    live = live + 1
    if before - m.joined >= detect then established = established + 1 end
  end
end
if now - b.born < forget then ghosts = replicas end
ghosts = math.min(ghosts, math.max(replicas - established, 0))
local most = math.max(planCapacity - ghosts * asideCapacity, 0)
local free = math.max(planRate - ghosts * asideRate, 0)
local floor = math.max(math.floor(planRate / 10), 1)
b.rate = math.min(b.rate, planRate)

-- One who has heard more knows, too, whether the service has throttled.
if ahead then
  if pausedFor > 0 then
    b.paused = math.max(b.paused, now + pausedFor)
    b.filled = math.max(b.filled, b.paused)
    b.level = math.min(b.level, 0)
  end
  if slowed > 0 and slowed < b.rate then
    b.rate = math.max(slowed, floor)
    b.raise = math.max(b.paused, now) + window
  end
end

-- Pour in what is due, piece by piece where the rate rises in between.
local function flow() return math.floor(b.rate * free / planRate) end
local function pour(till)
  local room, f = (most - out) * token - b.level, flow()
  if till > b.filled and room > 0 and f > 0 then
    if till - b.filled > room / f then
      b.level = b.level + room
    else
      b.level = b.level + (till - b.filled) * f
    end
  end
  b.filled = math.max(b.filled, till)
end
while b.rate < planRate and b.raise <= now do
  pour(b.raise)
  b.rate = math.min(b.rate + floor, planRate)
  b.raise = b.raise + window
end
pour(now)

-- Leases whose life is over are lost; so are replicas cut off for so long.
for name, m in pairs(members) do
  if m.out > 0 and now >= m.till then
    out, m.out = out - m.out, 0
  end
  if now - m.last >= forget then
    members[name] = nil
    out = out - m.out
    redis.call('HDEL', key, name)
  end
end

-- The asking replica. It is sure of the last ask it got an answer to, and only of
-- that. One that was in touch with a bucket that was lost is cut off until it has
-- got this answer.
me = members['m:' .. id]
if not me then
  me = {last = now, sure = now, joined = now, out = 0, till = now, wanting = 0, sparing = 0}
  if heard > 0 then
    me.sure, me.joined = now - detect, now - detect
  end
elseif heard == me.seq then
  me.sure = me.last
end
me.seq, me.last = seq, now
me.capacity, me.rate, me.ownCapacity, me.ownRate = capacity, rate, ownCapacity, ownRate
local sure = now - me.sure < detect

-- What it reports: sends lower its part, returns go back, and more than it was
-- leased is void.
local known = me.out
local recalled = holding > known
local kept = math.min(holding, known)
local back = math.max(math.min(returned, known - kept), 0)
out = out - known + kept
me.out = kept
b.level = b.level + back * token - charged * token

if pause >= 0 then
  if now >= b.paused and now - age > b.cut then
    b.rate = math.max(math.floor(b.rate / 2), floor)
    b.cut = now
  end
  b.paused = math.max(b.paused, now + pause)
  b.raise = b.paused + window
  b.filled = math.max(b.filled, b.paused)
  b.level = math.min(b.level, 0)
end

-- A share set aside takes from what is there, and if that is not enough, from
-- what is leased.
b.level = math.min(b.level, math.max(most - out, 0) * token)
if out > most and me.out > 0 then recalled = true end

-- Those who wait get equal parts, but one token if there is any; what is left over
-- evens out with the next.
local function part(there, among) return math.max(math.floor(there / among), math.min(there, 1)) end
local wanting, others, tokens = 1, 1, 0
for name, m in pairs(members) do
  if name ~= 'm:' .. id and now - m.last < detect then
    if m.wanting > 0 then wanting = wanting + 1 end
    if m.wanting > 0 or m.sparing > 0 then others = others + 1 end
  end
end
local reserve = math.floor(most / 10)
if sure and not recalled and not leaving and now >= b.paused then
  local there = math.max(math.floor(b.level / token), 0)
  tokens = math.min(want, part(there, wanting))
  local above = math.max(there - tokens - reserve, 0)
  tokens = tokens + math.min(spare, part(above, others))
  b.level = b.level - tokens * token
  out = out + tokens
  me.out = me.out + tokens
end
me.wanting = math.max(want - tokens, 0)
me.sparing = math.max(want + spare - tokens, 0) - me.wanting
if not recalled then me.till = now + life end

if leaving then
  redis.call('HDEL', key, 'm:' .. id)
else
  redis.call('HSET', key, 'm:' .. id, text(me.seq, me.last, me.sure, me.joined, me.out, me.till, me.wanting, me.sparing,
    me.capacity, me.rate, me.ownCapacity, me.ownRate))
  if not members['m:' .. id] then live = live + 1 end
end
-- Others whose leases have ended are written, too: nobody's part may come back.
for name, m in pairs(members) do
  local ended = m.out == 0 and m.till <= now and m.till > 0
  if name ~= 'm:' .. id and (ended or distrusted) then
    if ended then m.till = 0 end
    redis.call('HSET', key, name, text(m.seq, m.last, m.sure, m.joined, m.out, m.till, m.wanting, m.sparing,
      m.capacity, m.rate, m.ownCapacity, m.ownRate))
  end
end
redis.call('HSET', key, 'bucket', text(b.now, b.seen, b.level, b.rate, b.filled, b.paused, b.raise, b.cut,
  b.born, b.by, b.copies, b.whole))
redis.call('PEXPIRE', key, math.ceil((2 * forget + math.max(b.paused - now, 0) + 11 * window) / 1000))

-- How long until there is a token for each who waits.
local need, wait, f = wanting, 0, flow()
if want == 0 and spare > 0 then need = reserve + 1 end
local missing = math.min(need, math.max(most, 1)) * token - b.level
if missing > 0 then
  wait = math.max(b.filled - now, 0)
  if f > 0 then wait = wait + math.ceil(missing / f) else wait = wait + 1e6 end
  -- Without room for them they come when somebody reports: look again soon.
  if missing > (most - out) * token - b.level then wait = math.max(b.filled - now, 2e4) end
end
local again = 0
if not sure then again = 1 end
local void = 0
if recalled then void = 1 end
return {1, tokens, void, again, math.floor(b.level / 1e6), b.rate, f, math.min(wait, day), math.max(b.paused - now, 0),
  live, ghosts, wanting, reserve}
