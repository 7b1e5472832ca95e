-- uses: guards/brake
-- Adds strays to discovered: VMs that the provider has and that are in no queue of any pool, whatever their metadata says. While the
-- brake is engaged, only those whose destruction has started.
-- KEYS   1: brakes (hash)   2: inventories (hash)   3: first seen (zset)   4: discovered   5…: all other queues of all pools
-- ARGV   1: pool   2: id of its inventory's record   3: epoch before which they must have been seen first   4: metadata prefix
--        5…: VMs
-- RETURN the VMs that were added; none if Redis was emptied since the VMs were read
local brakes, inventories, first_seen, discovered = unpack(KEYS, 1, 4)
local pool, id, seen_before, vm_prefix = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local record = redis.call('HGET', inventories, pool)
if not record or string.match(record, '^%a+ (%S+)') ~= id then return {} end
local vms, is_held = {unpack(ARGV, 5)}, is_engaged(brakes, pool)
local is_queued, added = {}, {}
for k = 4, #KEYS do
  for i, found in ipairs(redis.call('SMISMEMBER', KEYS[k], unpack(vms))) do is_queued[i] = is_queued[i] or found == 1 end
end
for i, since in ipairs(redis.call('ZMSCORE', first_seen, unpack(vms))) do
  local is_old = since and tonumber(since) <= seen_before
  if is_old and not is_queued[i] and (not is_held or is_being_destroyed(vm_prefix .. vms[i])) then added[#added + 1] = vms[i] end
end
if #added > 0 then redis.call('SADD', discovered, unpack(added)) end
return added
