-- A provider has said what VMs it has: what kept it from that is over, and so is the pause that it led to. Clones that
-- failed in a row are another matter.
-- KEYS   1: breaker
-- ARGV   1: failures that open it
-- RETURN 1 if it was closed
redis.call('HDEL', KEYS[1], 'listings')
if tonumber(redis.call('HGET', KEYS[1], 'failures') or 0) >= tonumber(ARGV[1]) then return 0 end
return math.min(redis.call('HDEL', KEYS[1], 'open_until', 'trial_until', 'pause'), 1)
