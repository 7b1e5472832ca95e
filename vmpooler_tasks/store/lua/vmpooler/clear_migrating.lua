-- Removes one page of migrating: every VM that does not run.
-- KEYS   1: migrating   2: running
-- ARGV   1: cursor of the last page, 0 for the first   2: approximate size of a page
-- RETURN {cursor, number of VMs that were removed, VMs of the page that run, which stay}
local migrating, running = KEYS[1], KEYS[2]
local cursor, page_size = ARGV[1], ARGV[2]

local page = redis.call('SSCAN', migrating, cursor, 'COUNT', page_size)
local vms, running_vms, other_vms = page[2], {}, {}
if #vms == 0 then return {page[1], 0, {}} end
local flags = redis.call('SMISMEMBER', running, unpack(vms))
for i = 1, #vms do
  local list = flags[i] == 1 and running_vms or other_vms
  list[#list + 1] = vms[i]
end
if #other_vms > 0 then redis.call('SREM', migrating, unpack(other_vms)) end
return {page[1], #other_vms, running_vms}
