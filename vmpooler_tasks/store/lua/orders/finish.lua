-- uses: pools/lease
-- uses: redis/counters
-- Finishes an order: writes its result into the VM's metadata as VMPooler does, and forgets the claim.
-- KEYS   1: leases of orders (zset)   2: work   3: record of the VM's order   4: metadata   5: counters
-- ARGV   1: VM   2: order   3: fence   4: kind of order   5: field of the result ('' for none)   6: result
--        7: 1 if the result is appended to the field's list, 0 if it replaces the field
-- RETURN 1; 0 if another worker took the order over
local leases, work, record, metadata, counters = unpack(KEYS)
local vm, order, fence, kind, field, result, appends = unpack(ARGV)

local held = redis.call('HMGET', record, 'order', 'fence')
if held[1] ~= order or held[2] ~= fence then return 0 end
if field ~= '' and redis.call('EXISTS', metadata) == 1 then  -- a hash made here would never expire
  local before = appends == '1' and redis.call('HGET', metadata, field) or ''
  redis.call('HSET', metadata, field, before == '' and result or before .. ':' .. result)
end
redis.call('DEL', record)
redis.call('ZREM', leases, vm)
forget_clone(work)
count(counters, 'vm_orders_done:' .. kind, 1)
return 1
