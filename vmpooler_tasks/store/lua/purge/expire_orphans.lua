-- uses: purge/still_stale
-- uses: redis/counters
-- Gives metadata an expiry whose VM is in no queue of any pool, unless it expires already.
-- KEYS   1: counters   2: the batch as a set, deleted again at the end   3…: every queue of every pool
-- ARGV   1: seconds until it expires   2: metadata prefix   3: counter   4…: VM, its `clone` as it was read
-- RETURN 1 or 0 for each VM; 0: it is queued again, expires already, or is gone
local counters, batch = KEYS[1], KEYS[2]
local seconds, prefix, counter = ARGV[1], ARGV[2], ARGV[3]
local KEYS_AT_ONCE = 1000  -- unpack has a limit
local vms, stamps, queues, result, expiring = {}, {}, {}, {}, 0
for i = 4, #ARGV, 2 do
  vms[#vms + 1] = ARGV[i]
  stamps[#stamps + 1] = ARGV[i + 1]
end
for i = 3, #KEYS do
  local size = redis.pcall('SCARD', KEYS[i])  -- a key of the wrong type holds no VM
  if type(size) == 'number' and size > 0 then queues[#queues + 1] = KEYS[i] end
end
redis.call('SADD', batch, unpack(vms))
for first = 1, #queues, KEYS_AT_ONCE do
  local last = math.min(first + KEYS_AT_ONCE - 1, #queues)
  redis.call('SDIFFSTORE', batch, batch, unpack(queues, first, last))
end
local unqueued = redis.call('SMISMEMBER', batch, unpack(vms))
redis.call('DEL', batch)
for i = 1, #vms do
  local key = prefix .. vms[i]
  result[i] = 0
  if unqueued[i] == 1 and unchanged(key, 'clone', stamps[i]) then
    result[i] = redis.call('EXPIRE', key, seconds, 'NX')
    expiring = expiring + result[i]
  end
end
count(counters, counter, expiring)
return result
