-- Renews the claim of a provider's inventory, unless it was released.
-- KEYS   1: breaker
-- ARGV   1: new end of the claim
-- RETURN 1 if it was renewed, else 0
local breaker, claim_end = KEYS[1], ARGV[1]

if redis.call('HEXISTS', breaker, 'inventory_until') == 0 then return 0 end
redis.call('HSET', breaker, 'inventory_until', claim_end)
return 1
