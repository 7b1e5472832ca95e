-- Shared: the circuit breaker of one provider or pool, a hash: failures (of clones, in a row), inventories and checks (that
-- failed, in a row), open_until, trial_until, pause; error and error_at, the newest failure. The hash is gone a day after it.
-- uses: redis/numbers

-- Returns true if the epoch is in the future, and no more than twice `seconds` ahead. One that is further ahead was written
-- while a clock was wrong, and has no effect.
local function is_ahead(epoch, now, seconds)
  epoch = number_of(epoch) or 0
  return epoch > now and epoch <= now + 2 * seconds
end

-- Returns until when the provider is suspended; nil if the caller may call it now. After a suspension the first caller gets
-- nil and has the trial until `trial_end`; the others wait for that.
local function suspended_or_start_trial(breaker, now, trial_end)
  local open_until, trial_until, pause = unpack(redis.call('HMGET', breaker, 'open_until', 'trial_until', 'pause'))
  if not open_until then return nil end
  if is_ahead(open_until, now, number_of(pause) or 300) then return open_until end
  if is_ahead(trial_until, now, trial_end - now) then return trial_until end
  redis.call('HSET', breaker, 'trial_until', trial_end)
  return nil
end

-- Returns the limits at ARGV[first] and the three arguments behind it: maximum failures, shortest and longest suspension in
-- seconds, pools that have to fail before their provider is suspended.
local function breaker_limits_from(first)
  local max_failures, min_pause, max_pause, required = unpack(ARGV, first, first + 3)
  return {
    max_failures = tonumber(max_failures), min_pause = tonumber(min_pause), max_pause = tonumber(max_pause),
    required = tonumber(required),
  }
end

-- Counts `weight` failures of this kind, and keeps the error. Returns until when the provider is suspended, if this failure
-- suspended it. With `only_counts` it never does.
local function count_failure(breaker, kind, now, limits, weight, error, only_counts)
  local failures = add_to_count(breaker, kind, weight)
  if error ~= '' then redis.call('HSET', breaker, 'error', error, 'error_at', string.format('%.3f', now)) end
  redis.call('EXPIRE', breaker, 86400)
  local open_until, last_pause = unpack(redis.call('HMGET', breaker, 'open_until', 'pause'))
  if only_counts or failures < limits.max_failures or is_ahead(open_until, now, limits.max_pause) then return nil end
  local pause = math.min(math.max(2 * (number_of(last_pause) or 0), limits.min_pause), limits.max_pause)
  local until_then = string.format('%.3f', now + pause)
  redis.call('HSET', breaker, 'open_until', until_then, 'pause', tostring(pause))
  redis.call('HDEL', breaker, 'trial_until')
  return until_then
end

-- Ends every row of failures, and the suspension. The newest error stays, as what happened last.
local function close_breaker(breaker)
  redis.call('HDEL', breaker, 'failures', 'transient', 'inventories', 'inventory_until', 'checks')
  redis.call('HDEL', breaker, 'open_until', 'trial_until', 'pause')
end
