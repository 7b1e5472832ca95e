-- uses: pools/lease
-- Finds orders whose worker was lost, or that wait until later than they can. Those that may be repeated are leased to the next
-- worker until the new end. What is kept of orders that wait no more, because another manager took them, is forgotten.
-- KEYS   1: leases of orders (zset)   2: orders sent (zset)   3: origins (hash)   4…: sets of orders
-- ARGV   1: now   2: end of the new lease   3: prefix of records   4: work prefix   5: page size   6…: kind of order, one for
--        each set   then: kinds of orders that must start only once
-- RETURN VM, pool, order, … of the orders
local leases, sent, origins = KEYS[1], KEYS[2], KEYS[3]
local now, lease_end, record_prefix, work_prefix, page_size = unpack(ARGV, 1, 5)

local sets, must_start_once = {}, {}
for i = 4, #KEYS do sets[ARGV[i + 2]] = KEYS[i] end
for i = #KEYS + 3, #ARGV do must_start_once[ARGV[i]] = true end

local function kind_of(order) return string.match(order, '^(%S+) ') end

redis.call('ZREMRANGEBYSCORE', sent, '-inf', now)
for _, order in ipairs(redis.call('HKEYS', origins)) do
  local kind = kind_of(order)
  local set = kind and sets[kind]
  if not set or redis.pcall('SISMEMBER', set, string.sub(order, #kind + 2)) == 0 then redis.call('HDEL', origins, order) end
end
local reaped = {}
local latest = 2 * lease_end - now
for _, vm in ipairs(find_due(leases, work_prefix, now, latest, page_size)) do
  guard_type(record_prefix .. vm)
  local pool, order = unpack(redis.call('HMGET', record_prefix .. vm, 'pool', 'order'), 1, 2)
  if not order then
    redis.call('ZREM', leases, vm)
  else
    if not must_start_once[kind_of(order)] then
      redis.call('HDEL', work_prefix .. vm, 'owner', 'fence')
      redis.call('HDEL', record_prefix .. vm, 'fence')
      redis.call('ZADD', leases, lease_end, vm)
    end
    for _, word in ipairs({vm, pool or '', order}) do reaped[#reaped + 1] = word end
  end
end
return reaped
