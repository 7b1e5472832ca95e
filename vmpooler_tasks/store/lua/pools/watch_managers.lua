-- uses: pools/foreign_clones
-- uses: redis/numbers
-- Checks whether another pool manager is at work, and corrects VMPooler's counters while there is none. A sighting is a change of the counters or
-- of the last boots, or a new pending VM, that these workers did not make. Two sightings in a short time prove another manager.
-- After one sighting, and at the start, the pool workers start nothing until a watch ends without a sighting.
-- A state that lasts longer than it can was written while a clock was wrong: a new watch starts.
-- The watch is a hash: `state` (alone, watching, other), `until` (the state ends then if nothing is seen), `valid_until` (a call
-- is due long before), `seen_at` (the last sighting), `sightings`, `evidence` (the last sighting's); `known:COUNTER`,
-- the value that these workers wrote or saw last; `boot:POOL`, the last boot that another manager wrote; `foreign:COUNTER`, its
-- clones in flight; `size:KEY`, how much a key held after the last check, if it only grows between two checks.
-- KEYS   1: the watch   2: foreign clones (set)   3: last boots   4: slots   5: their counter   6: slots of requests
--        7: their counter   8: last boots by these workers   9: keys that were set aside (hash: key -> epoch and type)
-- ARGV   1: now   2: seconds of a watch   3: seconds without a sighting after which another manager is gone
--        4: seconds without a call after which a new watch starts   5: metadata prefix   6: work prefix
--        7: prefix of pending   8…: pool, VM, 1 if its clone time is new, of each VM that may be a foreign clone
-- RETURN {state before ('' for none), state, evidence, then for each corrected counter: key, wrong value, right value}
local watch, foreign_clones, last_boots, slots, counter, request_slots, request_counter, own_boots, set_aside =
  unpack(KEYS)
local now, watch_seconds, quiet_seconds, gap_seconds =
  tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now_text, vm_prefix, work_prefix, pending_prefix = ARGV[1], ARGV[5], ARGV[6], ARGV[7]
local evidence

local before, until_before, valid_until, seen_at, sightings =
  unpack(redis.call('HMGET', watch, 'state', 'until', 'valid_until', 'seen_at', 'sightings'), 1, 5)
if before ~= 'alone' and before ~= 'watching' and before ~= 'other' then before = nil end  -- no state: a new watch starts
local function compare(field, value, what)
  local known = redis.call('HGET', watch, field)
  if known == value then return end
  -- A counter that the watch holds as no number proves nothing.
  local is_junk = known and string.sub(field, 1, 6) == 'known:' and not string.find(known, '^%-?%d+$')
  if before and not is_junk then evidence = evidence or what end
  redis.call('HSET', watch, field, value)
end

local function read_counter(key)
  local value = redis.pcall('GET', key) or '0'
  return type(value) == 'string' and value or ''
end

-- Returns true if these workers lost, since the last check, keys by which they know their own VMs and boots: a key holds less
-- than it did. While they are alone, a counter that nobody else has changed is the number of slots and of foreign clones.
local function has_shrunk()
  local function recorded(field) return number_of(redis.call('HGET', watch, field)) or 0 end
  for key, command in pairs({[own_boots] = 'HLEN', [foreign_clones] = 'SCARD'}) do
    if redis.call(command, key) < recorded('size:' .. key) then return true end
  end
  for key, held in pairs({[counter] = slots, [request_counter] = request_slots}) do
    local known = recorded('known:' .. key)
    local is_unchanged = before == 'alone' and number_of(read_counter(key)) == known
    if is_unchanged and redis.call('ZCARD', held) + recorded('foreign:' .. key) < known then return true end
  end
  return false
end
local has_lost_memory = has_shrunk()

for _, key in ipairs({counter, request_counter}) do compare('known:' .. key, read_counter(key), key) end
local boots = redis.pcall('HGETALL', last_boots)
for i = 1, boots.err and 0 or #boots, 2 do
  local pool, boot = boots[i], boots[i + 1]
  if redis.pcall('HGET', own_boots, pool) ~= boot then compare('boot:' .. pool, boot, last_boots .. ' of ' .. pool) end
end

local found, foreign = {}, {[counter] = 0, [request_counter] = 0}
for i = 8, #ARGV, 3 do
  local pool, vm, is_new = unpack(ARGV, i, i + 2)
  local item, in_flight, request = read_foreign(pool, vm, slots, request_slots, vm_prefix, work_prefix, pending_prefix)
  if item then
    found[#found + 1] = item
    if before and is_new == '1' and redis.call('SISMEMBER', foreign_clones, item) == 0 then
      evidence = evidence or 'the clone of ' .. vm
    end
    local key = request and request_counter or counter
    if in_flight then foreign[key] = foreign[key] + 1 end
  end
end
redis.call('DEL', foreign_clones)
for _, item in ipairs(found) do redis.call('SADD', foreign_clones, item) end
redis.call('HSET', watch, 'size:' .. own_boots, redis.call('HLEN', own_boots), 'size:' .. foreign_clones, #found)

-- A key that was set aside a moment ago is lost as well.
for _, key in ipairs({watch, foreign_clones, slots, request_slots, own_boots}) do
  local record = redis.pcall('HGET', set_aside, key)
  local at = type(record) == 'string' and tonumber(string.match(record, '^%d+'))
  if at and math.abs(now - at) < 60 then has_lost_memory = true end
end

-- Then a sighting proves nothing, and a new watch starts.
if evidence and before ~= 'other' and has_lost_memory then evidence, before = nil, nil end

local state, state_until = before, number_of(until_before) or now
if evidence then
  sightings = now - (number_of(seen_at) or 0) < quiet_seconds and math.max(number_of(sightings) or 0, 0) + 1 or 1
  state = sightings > 1 and 'other' or 'watching'
  state_until = now + (sightings > 1 and quiet_seconds or watch_seconds)
  redis.call('HSET', watch, 'seen_at', now_text, 'sightings', sightings, 'evidence', evidence)
elseif not before or now > (number_of(valid_until) or 0) or state_until > now + 2 * math.max(watch_seconds, quiet_seconds) then
  state, state_until = 'watching', now + watch_seconds
elseif now >= state_until then
  state = 'alone'
end
redis.call('HSET', watch, 'state', state, 'until', string.format('%.3f', state_until))
redis.call('HSET', watch, 'valid_until', string.format('%.3f', now + gap_seconds))

local reply = {before or '', state, evidence or ''}
for key, held in pairs({[counter] = slots, [request_counter] = request_slots}) do
  if state == 'alone' then
    local wrong, own = read_counter(key), redis.call('ZCARD', held)
    -- Another manager that is silent ends these clones, and subtracts each of them.
    local others = math.max(0, math.min(foreign[key], (tonumber(string.match(wrong, '^%d+$')) or 0) - own))
    local right = string.format('%d', own + others)
    redis.call('HSET', watch, 'foreign:' .. key, others, 'known:' .. key, right)
    if wrong ~= right then
      redis.call('SET', key, right)
      for _, word in ipairs({key, wrong, right}) do reply[#reply + 1] = word end
    end
  end
end
return reply
