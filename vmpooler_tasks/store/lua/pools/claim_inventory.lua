-- Claims the next read of a provider's inventory. After a failure only one reader at a time gets it.
-- KEYS   1: breaker
-- ARGV   1: now   2: end of the claim
-- RETURN 1 if the caller may read the inventory, else 0
local breaker, now, claim_end = KEYS[1], tonumber(ARGV[1]), ARGV[2]

if redis.call('HEXISTS', breaker, 'inventories') == 0 then return 1 end
local claimed_until = redis.call('HGET', breaker, 'inventory_until')
if claimed_until and tonumber(claimed_until) > now then return 0 end
redis.call('HSET', breaker, 'inventory_until', claim_end)
return 1
