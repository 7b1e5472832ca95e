-- uses: pools/clone_start
-- uses: redrive/run_step
-- uses: requests/status
-- uses: requests/missing_vms
-- uses: requests/put_item
-- Runs the dead letter of a VM again: another VM is begun in its place, if its pool or its request is still short of one.
-- The letter leaves in the same step.
-- KEYS   1: dead letters   2: the run   3: counters   4: pending   5: ready   6: running   7: slots   8: their counter
--        9: the request   10: delivered to it   11: items of requests
-- ARGV   1: position   2: letter   3: queue   4: VM   5: 1 if it was made for a request   6: VMs wanted of the pool or by
--        the request ('' if it is not configured any more)   7: most slots ('' where VMPooler makes the clones itself)
--        8: leased until   9: metadata prefix   10: work prefix   11: request   12: alias   13: item's text before the count
--        14: item's text behind the count   15: count of metadata words   16…: field, value, …   then: count of lineage
--        words, field, value, …   then: names to choose from
-- RETURN {outcome, the VM that was begun}
local function answer(outcome, vm)
  return {step_on(KEYS[2], KEYS[1], ARGV[2], KEYS[3], ARGV[3], outcome), vm or ''}
end
if not is_here(KEYS[2], ARGV[1]) then return {'moved_on', ''} end
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) then return answer('gone') end
local wanted = tonumber(ARGV[6])
if not wanted then return answer('obsolete') end
for k = 4, 6 do
  if redis.call('SISMEMBER', KEYS[k], ARGV[4]) == 1 then return answer('obsolete') end  -- it lives
end
if ARGV[5] == '1' then
  if redis.call('EXISTS', KEYS[9]) == 0 or answer_to(KEYS[9]) then return answer('obsolete') end
  wanted = missing_vms(wanted, KEYS[10], KEYS[4], KEYS[11], ARGV[9], ARGV[11], ARGV[12], ARGV[13], ARGV[14])
else
  wanted = wanted - redis.call('SCARD', KEYS[4]) - redis.call('SCARD', KEYS[5])
end
if wanted <= 0 then return answer('obsolete') end
if ARGV[7] == '' then
  if ARGV[5] ~= '1' then return answer('kept') end  -- VMPooler's manager fills its pools itself
  put_item(KEYS[11], 1, ARGV[13], 1, ARGV[14])
  return answer('redriven')
end
if redis.call('ZCARD', KEYS[7]) >= tonumber(ARGV[7]) then return {'wait', ''} end
local metadata, place = words_from(15)
local lineage, first = words_from(place)
local names = {}
for i = first, #ARGV do names[#names + 1] = ARGV[i] end
local begun = begin_clones(names, 1, KEYS[4], KEYS[7], KEYS[8], ARGV[8], ARGV[9], ARGV[10], metadata, lineage)
if #begun == 0 then return {'wait', ''} end
return answer('redriven', begun[1])
