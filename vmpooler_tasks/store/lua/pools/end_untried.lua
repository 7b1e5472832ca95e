-- uses: pools/breaker
-- uses: pools/pool_breaker
-- Ends suspensions after which nobody needed a clone: without a trial they would last for a day.
-- KEYS   1…: breakers of a provider and of a pool
-- ARGV   1: now   2: seconds after the suspension in which a trial would have started
-- RETURN the number of suspensions that were ended
local now, seconds = tonumber(ARGV[1]), tonumber(ARGV[2])

local ended = 0
for _, breaker in ipairs(KEYS) do
  local open_until, trial_until = unpack(redis.call('HMGET', breaker, 'open_until', 'trial_until'))
  if open_until and (number_of(open_until) or 0) + seconds <= now and (number_of(trial_until) or 0) + seconds <= now then
    close_breaker(breaker)
    forget_failing(breaker, 'failures')
    forget_failing(breaker, 'checks')
    ended = ended + 1
  end
end
return ended
