-- Shared: VMPooler's counters of clones in flight. A `counter` is the table {key of the counter, key of the watch for other pool
-- managers (hash)}; pools/watch_managers.lua describes the watch.
-- uses: redis/numbers

-- Returns true if another pool manager was seen at work.
local function is_other_seen(watch) return redis.call('HGET', watch, 'state') == 'other' end

-- Returns true if another pool manager is at work, or may be: nothing is started, and no counter is written.
local function is_watching(watch)
  local state = redis.call('HGET', watch, 'state')
  return state and state ~= 'alone'
end

-- Writes the number of clones in flight: those that hold `slots`, and those that another manager left behind in pending. A
-- counter that another program has changed stays as it is, because that program counts its own clones in it.
local function write_counter(slots, counter)
  local key, watch = unpack(counter)
  if is_watching(watch) then return end
  local known, foreign = unpack(redis.call('HMGET', watch, 'known:' .. key, 'foreign:' .. key), 1, 2)
  if (redis.pcall('GET', key) or '0') ~= (known or '0') then return end
  local in_flight = redis.call('ZCARD', slots) + math.max(number_of(foreign) or 0, 0)
  redis.call('SET', key, in_flight)
  redis.call('HSET', watch, 'known:' .. key, in_flight)
end
