#!lua flags=allow-oom
-- uses: deadletters/push_one
-- uses: requests/retry
-- uses: guards/missing
-- uses: pools/note_recycled
-- Fails a pending or ready VM in one step: writes its dead letter, moves it to completed, and retries or fails its request.
-- KEYS   1: its queue   2: completed   3: dead letters   4: ids   5: counters   6: the request   7: items of requests
--        8: notes of recycled VMs   9…: see guards/missing.lua, if its provider does not have the VM
-- ARGV   1: VM   2: now
--        3: queue of dead letters   4: seconds to keep them   5: maximum of them   6: maximum bytes   7: page (see limits_from)
--        8: id   9: dead letter
--        10: 1 if the error is permanent   11: maximum retries of a request   12: item to queue again   13: reason
--        14: why, for a note of a recycled VM ('' for none)   15: seconds to keep the note
--        16…: see guards/missing.lua, if its provider does not have the VM
-- RETURN {1 if it failed now, 0 if it had left its queue, -1 if the brake holds it; dropped; expired; outcome of the request; its retries}
local source, completed, dead_letters, ids, counters, request, items, notes = unpack(KEYS, 1, 8)
local vm, now, queue, limits, id, member = ARGV[1], ARGV[2], ARGV[3], limits_from(4), ARGV[8], ARGV[9]
local permanent, max_retries, item, reason, why, note_seconds = unpack(ARGV, 10, 15)
local is_missing = KEYS[9] ~= nil

if redis.call('SISMEMBER', source, vm) == 0 then return {0, 0, 0, 'none', 0} end
if is_missing and holds_missing(9, 16, vm) then return {-1, 0, 0, 'none', 0} end
local new, dropped, expired = 0, 0, 0
if limits then
  -- First: if the dead letter cannot be written, the VM stays where it is.
  new, dropped, expired = push_dead_letter(dead_letters, ids, counters, queue, tonumber(now), limits, id, member)
end
redis.call('SADD', completed, vm)
redis.call('SREM', source, vm)
if why ~= '' then note_recycled(notes, vm, why, tonumber(now), tonumber(note_seconds)) end
count(counters, 'vms_failed:' .. queue, 1)
local outcome, retries = retry_request(request, items, item, permanent == '1', tonumber(max_retries), reason)
return {1, dropped, expired, outcome, retries}
