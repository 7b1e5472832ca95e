-- Sets one field of a VM's metadata, if there is metadata: a deleted VM must not come back as a hash of one field.
-- KEYS   1: metadata
-- ARGV   1: field   2: value
-- RETURN 1 if it was set, else 0
local metadata, field, value = KEYS[1], ARGV[1], ARGV[2]

if redis.call('EXISTS', metadata) == 0 then return 0 end
redis.call('HSET', metadata, field, value)
return 1
