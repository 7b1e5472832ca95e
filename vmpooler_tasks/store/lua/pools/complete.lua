-- Moves one VM from its queue to completed, where it waits for its destruction.
-- KEYS   1: its queue   2: completed
-- ARGV   1: VM
-- RETURN 1 if it was moved, 0 if it had left its queue
local queue, completed, vm = KEYS[1], KEYS[2], ARGV[1]

if redis.call('SISMEMBER', queue, vm) == 0 then return 0 end
redis.call('SADD', completed, vm)  -- first: a key of the wrong type raises before the VM has left its queue
redis.call('SREM', queue, vm)
return 1
