-- uses: pools/counter
-- uses: pools/add_clones
-- uses: redrive/run_step
-- uses: requests/status
-- uses: requests/count_missing
-- uses: requests/put_item
-- Run the dead letter of a VM again: start another VM in its place if its pool or its request still lacks one. The dead
-- letter leaves in the same step.
-- KEYS   1: dead letters   2: the run   3: counters   4: pending   5: ready   6: running   7: slots   8: counter of slots
--        9: watch for other managers (hash)   10: the request   11: VMs delivered to the request   12: items of requests
--        13: paused pools (hash)
-- ARGV   1: position   2: dead letter   3: queue of dead letters   4: VM   5: 1 if it was made for a request   6: VMs wanted
--        of the pool or by the request ('' if the pool is not configured any more)   7: maximum of slots ('' where VMPooler
--        makes the clones, as it does while it is seen at work)   8: leased until   9: metadata prefix   10: work prefix
--        11: request   12: alias   13: text of the request's item before the count   14: text behind the count   15: pool
--        16: count of metadata words   17…: field, value, …   then: count of lineage words, field, value, …   then: names to
--        choose from
-- RETURN {outcome, name of the new VM or ''}
local queue_key, run, counters = KEYS[1], KEYS[2], KEYS[3]
local pending, ready, running, slots, slot_counter = KEYS[4], KEYS[5], KEYS[6], KEYS[7], {KEYS[8], KEYS[9]}
local request_key, delivered, items, paused = KEYS[10], KEYS[11], KEYS[12], KEYS[13]
local position, member, queue, vm, is_for_request = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1'
local wanted, max_slots, leased_until = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local vm_prefix, work_prefix = ARGV[9], ARGV[10]
local request, alias, item_before, item_behind, pool = ARGV[11], ARGV[12], ARGV[13], ARGV[14], ARGV[15]

local function finish(outcome, new_vm)
  return {step_on(run, queue_key, member, counters, queue, outcome), new_vm or ''}
end

if not is_at(run, position) then return {'moved_on', ''} end
if not redis.call('ZSCORE', queue_key, member) then return finish('gone') end
if not wanted then return finish('obsolete') end
for k = 4, 6 do
  if redis.call('SISMEMBER', KEYS[k], vm) == 1 then return finish('obsolete') end  -- it lives
end
local missing
if is_for_request then
  if redis.call('EXISTS', request_key) == 0 or final_status(request_key) then return finish('obsolete') end
  missing = count_missing(wanted, delivered, running, pending, items, vm_prefix, request, alias, item_before, item_behind)
else
  missing = wanted - redis.call('SCARD', pending) - redis.call('SCARD', ready)
end
if missing <= 0 then return finish('obsolete') end
if not max_slots or is_other_seen(slot_counter[2]) then
  if not is_for_request then return finish('kept') end  -- VMPooler's manager fills its pools itself
  put_item(items, 1, item_before, 1, item_behind)
  return finish('redriven')
end
if redis.call('HEXISTS', paused, pool) == 1 then return finish('kept') end
if redis.call('ZCARD', slots) >= max_slots then return {'wait', ''} end
local metadata, behind_metadata = counted_words(16)
local lineage, first_name = counted_words(behind_metadata)
local names = words_from(first_name)
local started = add_clones(names, 1, pending, slots, slot_counter, leased_until, vm_prefix, work_prefix, metadata, lineage)
if #started == 0 then return {'wait', ''} end
return finish('redriven', started[1])
