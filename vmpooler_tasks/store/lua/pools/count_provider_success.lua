-- Ends a provider's row of failed checks or inventories, and its suspension, unless clones or the other kind failed too often.
-- KEYS   1: breaker
-- ARGV   1: kind (checks, inventories)   2: maximum failures
-- RETURN 1 if the suspension was ended
local breaker, kind, max_failures = KEYS[1], ARGV[1], tonumber(ARGV[2])

redis.call('HDEL', breaker, kind, kind == 'inventories' and 'inventory_until' or kind)
for _, count in ipairs(redis.call('HMGET', breaker, 'failures', 'inventories', 'checks')) do
  if tonumber(count or 0) >= max_failures then return 0 end
end
return math.min(redis.call('HDEL', breaker, 'open_until', 'trial_until', 'pause'), 1)
