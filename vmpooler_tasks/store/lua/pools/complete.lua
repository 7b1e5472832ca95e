-- Moves one VM from its queue to completed, where it waits for its destruction.
-- KEYS   1: its queue   2: completed
-- ARGV   1: VM
-- RETURN 1 if it was moved now
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('SADD', KEYS[2], ARGV[1])  -- first: a key of the wrong type is refused before the VM has left
redis.call('SREM', KEYS[1], ARGV[1])
return 1
