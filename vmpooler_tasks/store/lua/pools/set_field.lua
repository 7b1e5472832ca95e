-- Keeps one field of a VM's metadata, if there is any: a VM that is gone does not come back as a hash of one field.
-- KEYS   1: metadata
-- ARGV   1: field   2: value
-- RETURN 1 if it was kept
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
