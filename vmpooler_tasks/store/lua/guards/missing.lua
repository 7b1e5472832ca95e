-- Shared: the guard of a check that did not find its VM in the provider. Its KEYS and ARGV are those of store/guards/missing.py:
-- KEYS from `k`: brakes, inventories, missing VMs (zset), audit, metadata of the VM
-- ARGV from `a`: pool, now, maximum percentage, percentage that allows every share, count that never engages the brake,
-- maximum of audit entries, seconds to remember missing VMs
-- Returns true if the brake holds the VM. VMs that checks miss between two inspections are counted like those of an inspection. One
-- whose destruction has started is not held, and does not count.
-- uses: guards/brake
local function holds_missing(k, a, vm)
  local brakes, inventories, missing, audit, metadata = unpack(KEYS, k, k + 4)
  local pool, now, max_percent, no_max_percent, min_held, max_audit_entries, keep_seconds = unpack(ARGV, a, a + 6)

  if is_being_destroyed(metadata) then return false end
  if is_engaged(brakes, pool) then return true end
  redis.call('ZADD', missing, 'LT', now, vm)
  redis.call('EXPIRE', missing, keep_seconds)
  if tonumber(max_percent) >= tonumber(no_max_percent) then return false end
  local count, brake = redis.call('ZCARD', missing), read_brake(brakes, pool)
  if brake and count <= brake.confirmed then return false end
  local known = number_of(string.match(redis.call('HGET', inventories, pool) or '', '(%d+)$')) or 0
  local limit = brake_limit(known, tonumber(max_percent), tonumber(min_held))
  if count <= limit then return false end
  engage_brake(brakes, audit, max_audit_entries, pool, now,
    {strays = 0, missing = count, known = known, limit = limit, is_new = false})
  return true
end
