-- uses: requests/status
-- uses: requests/count_missing
-- uses: requests/put_item
-- Queues clones for the VMs that one part of an open request has lost: they left pending and were not delivered, or they were
-- delivered and do not run any more. The latter are taken out of the delivered VMs.
-- KEYS   1: the request   2: delivered to it   3: pending   4: items of requests   5: running
-- ARGV   1: VMs that the part asks for   2: metadata prefix   3: request   4: alias   5: item's text before the count
--        6: item's text behind the count   7: 1 for a dry run, which only counts
-- RETURN how many VMs are missing
local request, delivered, pending, items, running = unpack(KEYS)
local wanted, vm_prefix, id, alias, before, behind, dry_run = unpack(ARGV)

if redis.call('EXISTS', request) == 0 or final_status(request) then return 0 end
local missing = count_missing(tonumber(wanted), delivered, running, pending, items, vm_prefix, id, alias, before, behind)
if dry_run == '1' then return math.max(missing, 0) end
if missing > 0 then put_item(items, 1, before, missing, behind) end
for _, vm in ipairs(redis.call('SMEMBERS', delivered)) do
  -- VMPooler's manager records a VM as delivered just before it moves it from pending to running.
  if redis.call('SISMEMBER', running, vm) == 0 and redis.call('SISMEMBER', pending, vm) == 0 then
    redis.call('SREM', delivered, vm)
  end
end
return math.max(missing, 0)
