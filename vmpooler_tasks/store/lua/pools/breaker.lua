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

-- Counts `weight` failures of this kind, and keeps the error. Returns until when the provider is suspended, if this failure
-- suspended it.
local function count_failure(breaker, kind, now, max_failures, min_pause, weight, error)
  local failures = add_to_count(breaker, kind, weight)
  if error ~= '' then redis.call('HSET', breaker, 'error', error, 'error_at', string.format('%.3f', now)) end
  redis.call('EXPIRE', breaker, 86400)
  local open_until = redis.call('HGET', breaker, 'open_until')
  if failures < max_failures or is_ahead(open_until, now, 10 * min_pause) then return nil end
  local pause = math.min(math.max(number_of(redis.call('HGET', breaker, 'pause')) or 0, min_pause / 2) * 2, 10 * min_pause)
  local until_then = string.format('%.3f', now + pause)
  redis.call('HSET', breaker, 'open_until', until_then, 'pause', tostring(pause))
  redis.call('HDEL', breaker, 'trial_until')
  return until_then
end

-- Ends every row of failures, and the suspension. The newest error stays, as what happened last.
local function close_breaker(breaker)
  redis.call('HDEL', breaker, 'failures', 'transient', 'inventories', 'inventory_until', 'checks', 'open_until', 'trial_until', 'pause')
end
