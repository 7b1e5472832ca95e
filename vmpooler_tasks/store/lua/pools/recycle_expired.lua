-- uses: pools/note_recycled
-- Moves expired VMs from ready to completed: at most a quarter of the VMs in ready, but at least one. Each VM that ready lacks
-- counts as one of them: its replacement is not there yet.
-- KEYS   1: ready   2: completed   3: notes of recycled VMs
-- ARGV   1: size of the pool   2: now   3: why, for a note ('' for none)   4: seconds to keep a note   5…: VMs, the oldest first
-- RETURN the VMs that were moved
local ready, completed, notes = unpack(KEYS)
local size, now, why, note_seconds = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])

local in_ready = redis.call('SCARD', ready)
local free = math.max(1, math.floor(in_ready / 4)) - math.max(0, size - in_ready)
local moved = {}
for i = 5, #ARGV do
  if #moved >= free then break end
  local vm = ARGV[i]
  if redis.call('SISMEMBER', ready, vm) == 1 then
    redis.call('SADD', completed, vm)  -- first: a key of the wrong type raises before the VM has left its queue
    redis.call('SREM', ready, vm)
    if why ~= '' then note_recycled(notes, vm, why, now, note_seconds) end
    moved[#moved + 1] = vm
  end
end
return moved
