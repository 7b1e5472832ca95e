-- Record that a claimed tick was sent, or release the claim.
-- KEYS   1: schedule
-- ARGV   1: entry   2: its claim field   3: claimed until, as it was claimed   4: epoch of the tick ('' to release the claim)
-- RETURN 1 if the claim was still this beat's, else 0
local schedule = KEYS[1]
local entry, claim_field, claimed_until, tick = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if redis.call('HGET', schedule, claim_field) ~= claimed_until then return 0 end
redis.call('HDEL', schedule, claim_field)
if tick ~= '' then redis.call('HSET', schedule, entry, tick) end
return 1
