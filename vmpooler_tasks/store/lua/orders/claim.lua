-- uses: pools/lease
-- uses: orders/checkout
-- Claims an order for one worker: in the same step it leaves VMPooler's set. A worker may also take over an order whose
-- worker was lost, unless the order must start only once.
-- KEYS   1: orders (set)   2: running   3: leases of orders (zset)   4: work   5: fences   6: metadata   7: active
--        8: record of the VM's order   9: origins (hash)   10: orders sent (zset)   11: orders seen (zset)
-- ARGV   1: VM   2: member of the set   3: order   4: owner   5: now   6: end of the lease   7: id for a new order
--        8: 1 if it must start only once   9: maximum attempts   10: pool
-- RETURN {claim, fence, id}; claim: claimed, gone (no such order), busy (a worker has this order, or another order
--        of the VM), not_running, interrupted (it must not start twice), exhausted (too many attempts)
local orders, running, leases, work, fences, metadata, active, record, origins, sent, seen = unpack(KEYS)
local vm, member, order, owner, now, lease_end, new_id, starts_once, max_attempts, pool = unpack(ARGV)
now = tonumber(now)

local held = redis.call('HGET', record, 'order')
if held and (is_leased(leases, work, vm, owner, now) or is_delivered_twice(leases, work, vm, owner, now)) then
  return {'busy', 0, ''}
end
if held and held ~= order then return {'busy', 0, ''} end  -- its worker was lost: the next tick decides about it first
if not held and redis.call('SISMEMBER', orders, member) == 0 then return {'gone', 0, ''} end
if held and starts_once == '1' then return {'interrupted', 0, ''} end
if redis.call('SISMEMBER', running, vm) == 0 then return {'not_running', 0, ''} end

if not held then
  redis.call('SREM', orders, member)
  redis.call('ZREM', sent, order)
  redis.call('ZREM', seen, order)
  local origin = redis.call('HGET', origins, order)
  local is_json, dead_letter = pcall(cjson.decode, origin or '')
  local earlier = is_json and type(dead_letter) == 'table' and dead_letter['order']
  if type(earlier) ~= 'string' then earlier = nil end
  redis.call('HSET', record, 'order', order, 'pool', pool, 'id', earlier or new_id, 'checkout',
    checkout_of(metadata, active, vm), 'origin', origin or '')
  redis.call('HDEL', origins, order)
end
if add_to_count(record, 'attempts', 1) > tonumber(max_attempts) then return {'exhausted', 0, ''} end
local fence = take_work(leases, nil, work, fences, vm, owner, now, lease_end)
redis.call('HSET', record, 'fence', fence)  -- the VM's destruction may take the work over, which leaves the order to its worker
return {'claimed', fence, redis.call('HGET', record, 'id')}
