-- Shared: failures that may pass. They count against their pool, in the field `transient` for clones, and against the provider. The
-- provider is suspended only while several of its pools fail: failing:KIND:POOL in its breaker is the time of the pool's newest
-- failure.
-- uses: pools/breaker

-- Returns the fields of the pools that fail, and their number within the last hour.
local function find_failing(breaker, kind, now)
  local prefix, fields, count = 'failing:' .. kind .. ':', {}, 0
  local all = redis.call('HGETALL', breaker)
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, #prefix) == prefix then
      fields[#fields + 1] = all[i]
      if is_ahead(all[i + 1], now - 3600, 3600) then count = count + 1 end
    end
  end
  return fields, count
end

-- Counts `weight` failures of this kind in a pool. `required`: pools that have to fail before the provider is suspended; with one,
-- the failures count against the provider alone. Returns until when this failure suspends the provider, and the pool; nil if it
-- does not.
local function count_failure_in_pool(breaker, pool_breaker, pool, required, kind, now, max_failures, min_pause, weight, error)
  if required < 2 then return count_failure(breaker, kind, now, max_failures, min_pause, weight, error), nil end
  local pool_kind = kind == 'failures' and 'transient' or kind
  local pool_until = count_failure(pool_breaker, pool_kind, now, max_failures, min_pause, weight, error)
  if (number_of(redis.call('HGET', pool_breaker, pool_kind)) or 0) >= max_failures then
    redis.call('HSET', breaker, 'failing:' .. kind .. ':' .. pool, string.format('%.3f', now))
  end
  local _, failing = find_failing(breaker, kind, now)
  local limit = failing >= required and max_failures or math.huge
  return count_failure(breaker, kind, now, limit, min_pause, weight, error), pool_until
end

-- A call of this kind succeeded: the provider works, and its pools failed by themselves.
local function forget_failing(breaker, kind)
  local fields = find_failing(breaker, kind, 0)
  if #fields > 0 then redis.call('HDEL', breaker, unpack(fields)) end
end
