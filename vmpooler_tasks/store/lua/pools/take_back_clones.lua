-- uses: pools/pause_state
-- uses: pools/take_back
-- Takes back those clones of a paused or removed pool that no worker holds.
-- KEYS   1: paused pools, or removed ones (hash)   2: pending   3: completed   4: items of requests
--        5…: slots, their counter, watch for other managers (hash)
-- ARGV   1: pool   2: now   3: metadata prefix   4: work prefix   5: prefix of requests   6…: VMs
-- RETURN the VMs whose clones were taken back
local stopped, pending, completed, items = unpack(KEYS, 1, 4)
local pool, now, vm_prefix, work_prefix, request_prefix = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]

local taken = {}
if not pause_state(stopped, pool) then return taken end
for i = 6, #ARGV do
  local vm = ARGV[i]
  local metadata, work = vm_prefix .. vm, work_prefix .. vm
  guard_type(work)
  for k = 5, #KEYS, 3 do
    local slots, counter = KEYS[k], {KEYS[k + 1], KEYS[k + 2]}
    if
      redis.call('ZSCORE', slots, vm)
      and redis.call('SISMEMBER', pending, vm) == 1
      and not is_leased(slots, work, vm, '', now)
      and redis.pcall('HEXISTS', metadata, 'clone_time') == 0
    then
      take_back(vm, pool, pending, completed, slots, counter, metadata, work, items, request_prefix)
      taken[#taken + 1] = vm
    end
  end
end
return taken
