-- Finds orders whose worker was lost. Those that may be repeated are leased to the next worker until the new end.
-- KEYS   1: leases of orders (zset)
-- ARGV   1: now   2: end of the new lease   3: prefix of records   4: work prefix   5: page size   6…: kinds of orders that
--        must start only once
-- RETURN VM, pool, order, … of the orders
local leases = KEYS[1]
local now, lease_end, record_prefix, work_prefix, page_size = unpack(ARGV, 1, 5)

local function must_start_once(order)
  for i = 6, #ARGV do
    if string.sub(order, 1, #ARGV[i] + 1) == ARGV[i] .. ' ' then return true end
  end
  return false
end

local reaped = {}
for _, vm in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, page_size)) do
  local pool, order = unpack(redis.call('HMGET', record_prefix .. vm, 'pool', 'order'), 1, 2)
  if not order then
    redis.call('ZREM', leases, vm)
  else
    if not must_start_once(order) then
      redis.call('HDEL', work_prefix .. vm, 'owner', 'fence')
      redis.call('HDEL', record_prefix .. vm, 'fence')
      redis.call('ZADD', leases, lease_end, vm)
    end
    for _, word in ipairs({vm, pool or '', order}) do reaped[#reaped + 1] = word end
  end
end
return reaped
