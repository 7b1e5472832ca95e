-- uses: requests/status
-- uses: requests/close_status
-- uses: redis/counters
-- Fails a stuck request, unless it was closed meanwhile.
-- KEYS   1: the request (hash)   2: requests waiting (zset)   3: requests being filled (zset)   4: counters
--        5…: its delivered VMs
-- ARGV   1: request id   2: reason   3: seconds to keep the request
-- RETURN 1 if it failed now, else 0
local request, waiting, filling, counters = unpack(KEYS, 1, 4)
local id, reason, keep_seconds = ARGV[1], ARGV[2], ARGV[3]

if final_status(request) then return 0 end
local removed = 0
for _, key in ipairs({waiting, filling}) do
  local reply = redis.pcall('ZREM', key, id)  -- a key of the wrong type holds no request
  if type(reply) == 'number' then removed = removed + reply end
end
if removed == 0 then return 0 end
set_final_status(request, 'failed', reason, keep_seconds)
for k = 5, #KEYS do expire_once(KEYS[k], keep_seconds) end
count(counters, 'requests_failed', 1)
return 1
