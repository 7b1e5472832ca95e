-- Shared: the circuit breaker of one provider, a hash: failures (of clones, in a row), listings and looks (that failed, in
-- a row), open_until, trial_until, pause. It is missing while all is well.
local function left_alone_until(breaker, now, trial_end)
  local found = redis.call('HMGET', breaker, 'open_until', 'trial_until')
  if not found[1] then return nil end
  if tonumber(found[1]) > now then return found[1] end
  if found[2] and tonumber(found[2]) > now then return found[2] end
  redis.call('HSET', breaker, 'trial_until', trial_end)  -- one may try
  return nil
end

-- Counts a failure of this kind, as `weight` of them; answers until when the provider is left alone, if this was one too
-- many.
local function count_failure(breaker, kind, now, most, shortest, weight)
  local failures = redis.call('HINCRBY', breaker, kind, weight or 1)
  redis.call('EXPIRE', breaker, 86400)
  local open_until = redis.call('HGET', breaker, 'open_until')
  if failures < most or (open_until and tonumber(open_until) > now) then return nil end
  local pause = math.min(tonumber(redis.call('HGET', breaker, 'pause') or shortest / 2) * 2, 10 * shortest)
  local until_then = string.format('%.3f', now + pause)
  redis.call('HSET', breaker, 'open_until', until_then, 'pause', tostring(pause))
  redis.call('HDEL', breaker, 'trial_until')
  return until_then
end
