-- uses: redis/numbers
-- Claims the next read of a provider's inventory. After a failure only one reader at a time gets it. A claim that ends later
-- than a new one would was made by a wrong clock, and has no effect.
-- KEYS   1: breaker
-- ARGV   1: now   2: end of the claim   3: seconds that a claim may end later than a new one
-- RETURN 1 if the caller may read the inventory, else 0
local breaker, now, claim_end, max_drift = KEYS[1], tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])

if redis.call('HEXISTS', breaker, 'inventories') == 0 then return 1 end
local claimed_until = number_of(redis.call('HGET', breaker, 'inventory_until')) or 0
if claimed_until > now and claimed_until <= claim_end + max_drift then return 0 end
redis.call('HSET', breaker, 'inventory_until', claim_end)
return 1
