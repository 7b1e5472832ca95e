-- Whether a provider may be asked what VMs it has: where that failed last time, by one at a time.
-- KEYS   1: breaker
-- ARGV   1: now   2: until when one that asks has the turn
-- RETURN 1 or 0
if redis.call('HEXISTS', KEYS[1], 'listings') == 0 then return 1 end
local turn = redis.call('HGET', KEYS[1], 'listing_until')
if turn and tonumber(turn) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'listing_until', ARGV[2])
return 1
