-- uses: pools/lease
-- Finds the clones whose worker has not renewed its lease: who holds one loses it, and whoever takes it up next has time
-- until the new end. Those that are not pending any more give their slot back.
-- KEYS   1: slots   2: counter of the slots
-- ARGV   1: now   2: leased until   3: metadata prefix   4: work prefix   5: prefix of pending   6: most in one call
-- RETURN VM, pool, … of those that are to be taken up
local found = {}
for _, vm in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[6])) do
  local pool = redis.pcall('HGET', ARGV[3] .. vm, 'pool')
  local pending = type(pool) == 'string' and redis.pcall('SISMEMBER', ARGV[5] .. pool, vm)
  if type(pending) == 'table' then
    redis.call('ZADD', KEYS[1], ARGV[2], vm)  -- its queue is no set: what becomes of it can be told later
  elseif pending == 1 then
    redis.call('HDEL', ARGV[4] .. vm, 'owner', 'fence')
    redis.call('ZADD', KEYS[1], ARGV[2], vm)
    found[#found + 1] = vm
    found[#found + 1] = pool
  else
    redis.call('ZREM', KEYS[1], vm)
    forget_clone(ARGV[4] .. vm)
  end
end
redis.call('SET', KEYS[2], redis.call('ZCARD', KEYS[1]))
return found
