-- uses: pools/lease
-- Takes the destruction of a VM on, if it is still to be destroyed and nobody else does it.
-- KEYS   1: completed   2: destructions (zset)   3: work   4: fences   5: metadata
-- ARGV   1: VM   2: owner   3: now   4: leased until   5: now, as VMPooler writes it   6: seconds to keep metadata
-- RETURN {outcome, fence, attempts}; outcome: ok, gone, busy
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  if not is_leased(KEYS[2], KEYS[3], ARGV[1], ARGV[2], tonumber(ARGV[3])) then redis.call('ZREM', KEYS[2], ARGV[1]) end
  return {'gone', 0, 0}
end
if is_leased(KEYS[2], KEYS[3], ARGV[1], ARGV[2], tonumber(ARGV[3])) then return {'busy', 0, 0} end
local attempts = redis.call('HINCRBY', KEYS[3], 'destroys', 1)
local fence = take_work(KEYS[2], nil, KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[4])
redis.call('HSETNX', KEYS[5], 'destroy', ARGV[5])  -- since when it is tried: its age in completed
redis.call('EXPIRE', KEYS[5], ARGV[6])
return {'ok', fence, attempts}
