-- uses: requests/retry
-- uses: guards/missing
-- Removes a pending VM that its provider does not have. Its request gets another. The brake may hold a VM whose clone had ended.
-- KEYS   1: pending   2: metadata   3: work   4: the request   5: items of requests   6…: see guards/missing.lua
-- ARGV   1: VM   2: seconds to keep metadata   3: 1 if the error is permanent   4: maximum retries of a request
--        5: item to queue again ('' for none)   6: reason   7…: see guards/missing.lua
-- RETURN {1 if it was removed, 0 if it had left pending, -1 if the brake holds it; outcome of the request; its retries}
local pending, metadata, work, request, items = unpack(KEYS)
local vm, keep_seconds, permanent, max_retries, item, reason = unpack(ARGV)

if redis.call('SISMEMBER', pending, vm) == 0 then return {0, 'none', 0} end
if redis.pcall('HEXISTS', metadata, 'clone_time') == 1 and holds_missing(6, 7, vm) then return {-1, 'none', 0} end
redis.call('SREM', pending, vm)
redis.call('EXPIRE', metadata, keep_seconds)
redis.call('DEL', work)
local outcome, retries = retry_request(request, items, item, permanent == '1', tonumber(max_retries), reason)
return {1, outcome, retries}
