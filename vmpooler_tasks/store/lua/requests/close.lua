-- uses: requests/status
-- uses: requests/set_status
-- Ends a request that is not to be filled any more: failed for this reason unless it has an answer, its clones not
-- started, and what was delivered completed, unless it is ready. All its keys are let go.
-- KEYS   1: the request   2: requests waiting   3: requests being filled   4: items
--        5…: delivered, running, completed, for each part of the request
-- ARGV   1: request   2: reason   3: seconds to keep the request   4…: its items as they may stand in the queue
-- RETURN {status, VMs completed}
local status = answer_to(KEYS[1])
if not status then
  status = 'failed'
  answer_request(KEYS[1], status, ARGV[2])
end
let_go(KEYS[1], ARGV[3])
for k = 5, #KEYS, 3 do let_go(KEYS[k], ARGV[3]) end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
for i = 4, #ARGV do redis.call('ZREM', KEYS[4], ARGV[i]) end
local completed = {}
for k = 5, status == 'ready' and 0 or #KEYS, 3 do
  for _, vm in ipairs(redis.call('SMEMBERS', KEYS[k])) do
    if redis.call('SMOVE', KEYS[k + 1], KEYS[k + 2], vm) == 1 then completed[#completed + 1] = vm end
  end
end
return {status, completed}
