-- uses: pools/breaker
-- Ends suspensions that last longer than they can: they were written while a clock was wrong. The next clone is the trial.
-- KEYS   1…: breakers
-- ARGV   1: now   2: longest suspension in seconds
-- RETURN the number of suspensions that were ended
local now_text, max_pause = ARGV[1], tonumber(ARGV[2])
local now = tonumber(now_text)

local ended = 0
for _, breaker in ipairs(KEYS) do
  local open_until, pause = unpack(redis.call('HMGET', breaker, 'open_until', 'pause'))
  local is_future = open_until and (number_of(open_until) or math.huge) > now
  if is_future and not is_ahead(open_until, now, math.min(number_of(pause) or max_pause, max_pause)) then
    redis.call('HSET', breaker, 'open_until', now_text)
    redis.call('HDEL', breaker, 'trial_until')
    ended = ended + 1
  end
end
return ended
