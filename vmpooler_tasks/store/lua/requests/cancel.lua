-- uses: requests/status
-- uses: requests/close_status
-- uses: requests/queued_items
-- uses: requests/withdraw
-- Cancels an open request as VMPooler's API does (status deleted, its VMs to completed), and records it in the audit.
-- KEYS   1: the request   2: requests waiting   3: requests being filled   4: items   5: audit (stream)
--        6…: delivered, running, completed, for each part of the request
-- ARGV   1: request   2: reason   3: seconds to keep the request   4: maximum count of audit entries   5: count of audit words
--        6…: audit field, value, …   then: for each part: VMs it asks for, text before and behind
--        the count of its items
-- RETURN {its status before ('' if it was open, so that it is cancelled now; 'gone' without a request), VMs moved to completed}
local request, waiting, filling, items, audit = unpack(KEYS, 1, 5)
local id, reason, keep_seconds, max_audit_entries, word_count = unpack(ARGV, 1, 5)

local status = final_status(request)
if status then return {status, {}} end
if redis.call('EXISTS', request) == 0 then return {'gone', {}} end
set_final_status(request, 'deleted', reason, keep_seconds)
local moved = withdraw(id, waiting, filling, items, keep_seconds, 6, 6 + word_count, false)
redis.call('XADD', audit, 'MAXLEN', '~', max_audit_entries, '*', 'count', #moved, unpack(ARGV, 6, 5 + word_count))
return {'', moved}
