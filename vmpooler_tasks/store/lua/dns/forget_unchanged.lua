-- Removes the note of a DNS record that is deleted, unless it was written anew.
-- KEYS   1: records of the pool (hash)
-- ARGV   1: VM   2: record, as it was read
-- RETURN 1; 0 if there is no note, or another one
local records = KEYS[1]
local vm, record = unpack(ARGV)

if redis.call('HGET', records, vm) ~= record then return 0 end
return redis.call('HDEL', records, vm)
