-- Shared: failures that may pass. They count against their pool, in the field `transient` for clones, and against the
-- provider. The provider is suspended only while several of its pools fail: failing:KIND:POOL in its breaker is the time of
-- the pool's newest failure, of as many pools as are required for that.
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

-- Counts `weight` failures of this kind in a pool. Where one pool suffices to suspend the provider, they count against the
-- provider alone. Returns until when this failure suspends the provider, and the pool; nil if it does not.
local function count_failure_in_pool(breaker, pool_breaker, pool, kind, now, limits, weight, error)
  if limits.required < 2 then return count_failure(breaker, kind, now, limits, weight, error), nil end
  local pool_kind = kind == 'failures' and 'transient' or kind
  local pool_until = count_failure(pool_breaker, pool_kind, now, limits, weight, error)
  local _, failing = find_failing(breaker, kind, now)
  if (number_of(redis.call('HGET', pool_breaker, pool_kind)) or 0) >= limits.max_failures then
    local field = 'failing:' .. kind .. ':' .. pool
    local is_known = redis.call('HEXISTS', breaker, field) == 1
    -- No more pools than are required: with thousands of them, each failure would read them all.
    if is_known or failing < limits.required then
      redis.call('HSET', breaker, field, string.format('%.3f', now))
      _, failing = find_failing(breaker, kind, now)
    end
  end
  return count_failure(breaker, kind, now, limits, weight, error, failing < limits.required), pool_until
end

-- A call of this kind succeeded: the provider works, and its pools failed by themselves.
local function forget_failing(breaker, kind)
  local fields = find_failing(breaker, kind, 0)
  for _, field in ipairs(fields) do redis.call('HDEL', breaker, field) end  -- they may be too many for one command
end
