-- uses: requests/status
-- uses: requests/count_missing
-- uses: requests/put_item
-- Queues clones for the VMs that one part of an open request has lost: they left pending and were not delivered.
-- KEYS   1: the request   2: delivered to it   3: pending   4: items of requests
-- ARGV   1: VMs that the part asks for   2: metadata prefix   3: request   4: alias   5: item's text before the count
--        6: item's text behind the count   7: 1 for a dry run, which only counts
-- RETURN how many VMs are missing
local request, delivered, pending, items = unpack(KEYS)
local wanted, vm_prefix, id, alias, before, behind, dry_run = unpack(ARGV)

if redis.call('EXISTS', request) == 0 or final_status(request) then return 0 end
local missing = count_missing(tonumber(wanted), delivered, pending, items, vm_prefix, id, alias, before, behind)
if missing <= 0 then return 0 end
if dry_run ~= '1' then put_item(items, 1, before, missing, behind) end
return missing
