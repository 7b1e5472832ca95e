-- Records that a claimed tick was sent, or gives the claim back.
-- KEYS   1: schedule
-- ARGV   1: entry   2: claimed until, as it was claimed   3: epoch of the tick ('' to give it back)
-- RETURN 1 if the claim was still this beat's
local claim = ARGV[1] .. ':claim'
if redis.call('HGET', KEYS[1], claim) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], claim)
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return 1
