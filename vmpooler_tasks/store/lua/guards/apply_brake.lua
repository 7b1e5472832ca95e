#!lua flags=allow-oom
-- uses: guards/brake
-- Decides whether an inspection may complete strays and VMs that its inventory lacks. Engages the pool's brake if they are too
-- many or if Redis has no metadata of a stray, releases it if they are no longer, and records both in the audit.
-- KEYS   1: brakes (hash)   2: inventories (hash)   3: audit (stream)
-- ARGV   1: pool   2: mark from before the inventory was read   3: strays   4: discovered   5: missing   6: known VMs
--        7: maximum percentage   8: percentage that allows every share   9: count that never engages it   10: now
--        11: maximum of audit entries   12: strays and discovered VMs of the inventory without metadata
-- RETURN {decision, brake (JSON)}; decision: free, released, confirmed, engaged, engaged_now, emptied (Redis was emptied meanwhile)
local brakes, inventories, audit = unpack(KEYS)
local pool, mark = ARGV[1], ARGV[2]
local strays, discovered, missing, known = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local max_percent, no_max_percent, min_held = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local now, max_audit_entries, unrecorded = ARGV[10], ARGV[11], tonumber(ARGV[12])

local record = redis.call('HGET', inventories, pool)
if not record or (string.match(record, '^(.*) %d+$') or record) ~= mark then return {'emptied', ''} end
local is_new, count = string.sub(mark, 1, 4) == 'new ', strays + discovered + missing
local limit = brake_limit(known, max_percent, min_held)
local is_unknown = is_new and strays > 0
local is_too_much = max_percent < no_max_percent and count > limit
-- Until an inspection finds no stray, nothing proves that this Redis has known the pool's VMs.
local state = is_unknown and 'new' or 'managed'
redis.call('HSET', inventories, pool, state .. string.sub(mark, string.find(mark, ' ') or 1) .. ' ' .. known)

local brake = read_brake(brakes, pool)
if not is_unknown and not is_too_much and unrecorded == 0 then
  if not brake then return {'free', ''} end
  redis.call('HDEL', brakes, pool)
  redis.call('XADD', audit, 'MAXLEN', '~', max_audit_entries, '*', 'action', 'release_brake', 'who', 'inspection', 'pool', pool,
    'why', 'its cause is gone')
  return {'released', ''}
end
local may_be_unrecorded = brake and tonumber(brake.unrecorded) or 0
if brake and type(brake.confirmed) == 'number' and count <= brake.confirmed and unrecorded <= may_be_unrecorded then
  return {'confirmed', redis.call('HGET', brakes, pool)}
end
return engage_brake(brakes, audit, max_audit_entries, pool, now,
  {strays = strays + discovered, missing = missing, known = known, limit = limit, is_new = is_unknown,
   unrecorded = unrecorded})
