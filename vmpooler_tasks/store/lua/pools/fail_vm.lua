#!lua flags=allow-oom
-- uses: deadletters/push_one
-- uses: requests/retry
-- A pending or ready VM has failed: its dead letter, and from its queue to completed, as one step.
-- KEYS   1: its queue   2: completed   3: dead letters   4: ids   5: counters   6: the request   7: items of requests
-- ARGV   1: VM   2: dead letters' queue   3: now   4: seconds to keep dead letters   5: maximum count of them
--        6: page (see limits_from)   7: id   8: dead letter   9: 1 if the error is permanent   10: most retries of a request
--        11: item to be put back   12: reason
-- RETURN {1 if it was failed now, dropped, expired, outcome of the request, its retries}; 0: it had left the queue
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then return {0, 0, 0, 'none', 0} end
local new, dropped, expired = 0, 0, 0
local limits = limits_from(4)
if limits then
  -- First: if the dead letter cannot be written, the VM has not left.
  new, dropped, expired = push_dead_letter(KEYS[3], KEYS[4], KEYS[5], ARGV[2], tonumber(ARGV[3]), limits, ARGV[7], ARGV[8])
end
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('SREM', KEYS[1], ARGV[1])
count(KEYS[5], 'vms_failed:' .. ARGV[2], 1)
local outcome, retries = 'none', 0
if ARGV[11] ~= '' then
  outcome, retries = retry_request(KEYS[6], KEYS[7], ARGV[11], ARGV[9] == '1', tonumber(ARGV[10]), ARGV[12])
end
return {1, dropped, expired, outcome, retries}
