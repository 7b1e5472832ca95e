-- uses: pools/counter
-- Gives pending VMs whose clones these workers have started a slot again: the key that held it was lost. The slot is leased until
-- the new end. A worker that still makes the clone renews the lease. Otherwise the clone is sent to the workers again.
-- KEYS   1: slots   2: counter of the slots   3: watch for other managers (hash)   4: pending
-- ARGV   1: end of the lease   2: metadata prefix   3: work prefix   4…: VMs
-- RETURN the VMs that got one
local slots, counter, pending = KEYS[1], {KEYS[2], KEYS[3]}, KEYS[4]
local lease_end, vm_prefix, work_prefix = ARGV[1], ARGV[2], ARGV[3]

local function is_started(work)
  return redis.call('HEXISTS', work, 'started') == 1 or redis.call('HEXISTS', work, 'attempts') == 1
end

local restored = {}
for i = 4, #ARGV do
  local vm = ARGV[i]
  guard_type(work_prefix .. vm)
  if is_started(work_prefix .. vm)
    and redis.call('SISMEMBER', pending, vm) == 1
    and redis.pcall('HEXISTS', vm_prefix .. vm, 'clone_time') == 0
    and redis.call('ZADD', slots, 'NX', lease_end, vm) == 1 then
    restored[#restored + 1] = vm
  end
end
if #restored > 0 then write_counter(slots, counter) end
return restored
