-- uses: purge/still_stale
-- uses: redis/counters
-- Lets metadata expire whose VM is in no queue of any pool and that does not expire already.
-- KEYS   1: counters   2: the batch as a set, which is gone again at the end   3…: every queue of every pool
-- ARGV   1: seconds until it expires   2: metadata prefix   3: counter   4…: VM, its `clone` as it was read
-- RETURN 1 or 0 for each VM; 0: it is queued again, expires already, or is gone
local vms, queues, result, expiring = {}, {}, {}, 0
for i = 4, #ARGV, 2 do vms[#vms + 1] = ARGV[i] end
for k = 3, #KEYS do
  local size = redis.pcall('SCARD', KEYS[k])  -- a key of the wrong type holds no VM
  if type(size) == 'number' and size > 0 then queues[#queues + 1] = KEYS[k] end
end
redis.call('SADD', KEYS[2], unpack(vms))
for first = 1, #queues, 1000 do  -- so many at once: unpack has a limit
  redis.call('SDIFFSTORE', KEYS[2], KEYS[2], unpack(queues, first, math.min(first + 999, #queues)))
end
local unqueued = redis.call('SMISMEMBER', KEYS[2], unpack(vms))
redis.call('DEL', KEYS[2])
for i = 1, #vms do
  local key = ARGV[2] .. vms[i]
  result[i] = 0
  if unqueued[i] == 1 and unchanged(key, 'clone', ARGV[3 + 2 * i]) then
    result[i] = redis.call('EXPIRE', key, ARGV[1], 'NX')
    expiring = expiring + result[i]
  end
end
count(KEYS[1], ARGV[3], expiring)
return result
