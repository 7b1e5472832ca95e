-- uses: requests/retry
-- A pending VM that no provider knows is just removed; a request that waits for it gets another.
-- KEYS   1: pending   2: metadata   3: the request   4: items of requests
-- ARGV   1: VM   2: seconds to keep metadata   3: most retries of a request   4: item to be put back ('' for none)
-- RETURN {1 if it was removed now, outcome of the request, its retries}
if redis.call('SREM', KEYS[1], ARGV[1]) == 0 then return {0, 'none', 0} end
redis.call('EXPIRE', KEYS[2], ARGV[2])
if ARGV[4] == '' then return {1, 'none', 0} end
return {1, retry_request(KEYS[3], KEYS[4], ARGV[4], false, tonumber(ARGV[3]), '')}
