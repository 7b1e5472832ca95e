-- uses: pools/breaker
-- uses: pools/pool_breaker
-- Ends a row of failed checks or inventories, and the suspension of provider and pool, unless clones or the other kind failed too
-- often.
-- KEYS   1…: breakers of the provider and the pool
-- ARGV   1: kind (checks, inventories)   2: maximum failures
-- RETURN the number of suspensions that were ended
local kind, max_failures = ARGV[1], tonumber(ARGV[2])

local function end_row(breaker)
  redis.call('HDEL', breaker, kind, kind == 'inventories' and 'inventory_until' or kind)
  forget_failing(breaker, kind)
  for _, count in ipairs(redis.call('HMGET', breaker, 'failures', 'transient', 'inventories', 'checks')) do
    local failures = number_of(count) or 0
    if failures >= max_failures and failures <= max_count then return 0 end
  end
  return math.min(redis.call('HDEL', breaker, 'open_until', 'trial_until', 'pause'), 1)
end

local ended = 0
for _, breaker in ipairs(KEYS) do ended = ended + end_row(breaker) end
return ended
