-- uses: requests/retry
-- Removes a pending VM that its provider does not have. Its request gets another.
-- KEYS   1: pending   2: metadata   3: the request   4: items of requests
-- ARGV   1: VM   2: seconds to keep metadata   3: 1 if the error is permanent   4: maximum retries of a request
--        5: item to queue again ('' for none)   6: reason
-- RETURN {1 if it was removed, else 0; outcome of the request; its retries}
local pending, metadata, request, items = unpack(KEYS)
local vm, keep_seconds, permanent, max_retries, item, reason = unpack(ARGV)

if redis.call('SREM', pending, vm) == 0 then return {0, 'none', 0} end
redis.call('EXPIRE', metadata, keep_seconds)
local outcome, retries = retry_request(request, items, item, permanent == '1', tonumber(max_retries), reason)
return {1, outcome, retries}
