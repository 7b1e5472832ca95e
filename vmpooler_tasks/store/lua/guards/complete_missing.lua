-- uses: guards/missing
-- Moves a VM that its provider does not have from its queue to completed, unless the pool's brake holds it.
-- KEYS   1: its queue   2: completed   3…: see guards/missing.lua
-- ARGV   1: VM   2…: see guards/missing.lua
-- RETURN 1 if it was moved, 0 if it had left its queue, -1 if the brake holds it
local queue, completed, vm = KEYS[1], KEYS[2], ARGV[1]

if redis.call('SISMEMBER', queue, vm) == 0 then return 0 end
if holds_missing(3, 2, vm) then return -1 end
redis.call('SADD', completed, vm)  -- first: a key of the wrong type raises before the VM has left its queue
redis.call('SREM', queue, vm)
return 1
