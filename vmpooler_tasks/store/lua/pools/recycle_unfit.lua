-- uses: pools/note_recycled
-- Moves one VM that no user can use from ready to completed.
-- KEYS   1: ready   2: completed   3: notes of recycled VMs
-- ARGV   1: VM   2: now   3: why   4: seconds to keep a note
-- RETURN 1 if it was moved, 0 if it had left ready
local ready, completed, notes = unpack(KEYS)
local vm, now, why, note_seconds = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])

if redis.call('SISMEMBER', ready, vm) == 0 then return 0 end
redis.call('SADD', completed, vm)  -- first: a key of the wrong type raises before the VM has left its queue
redis.call('SREM', ready, vm)
note_recycled(notes, vm, why, now, note_seconds)
return 1
