#!lua flags=allow-oom
-- uses: pools/lease
-- uses: deadletters/push_one
-- Fails an order, claimed or waiting: its dead letter is written, and it leaves VMPooler's set or its record in the same step.
-- KEYS   1: orders (set)   2: leases of orders (zset)   3: work   4: record of the VM's order   5: origins (hash)
--        6: orders sent (zset)   7: orders seen (zset)   8: dead letters   9: ids   10: counters
-- ARGV   1: VM   2: member of the set   3: order   4: owner   5: now   6: kind of order
--        7: queue of dead letters   8: seconds to keep them   9: maximum of them   10: maximum bytes
--        11: page (see limits_from)   12: id   13: dead letter
-- RETURN {state, dropped, expired}; state: 1 failed now; 0 there is no such order; -1 another worker carries it out
local orders, leases, work, record, origins, sent, seen, dead_letters, ids, counters = unpack(KEYS)
local vm, member, order, owner, now, kind = unpack(ARGV, 1, 6)
local queue, limits, id, dead_letter = ARGV[7], limits_from(8), ARGV[12], ARGV[13]
now = tonumber(now)

local is_claimed = redis.call('HGET', record, 'order') == order
if is_claimed and is_leased(leases, work, vm, owner, now) then return {-1, 0, 0} end
if not is_claimed and redis.call('SISMEMBER', orders, member) == 0 then return {0, 0, 0} end
local dropped, expired = 0, 0
if limits then
  -- First: if the dead letter cannot be written, the order stays where it is.
  local _
  _, dropped, expired = push_dead_letter(dead_letters, ids, counters, queue, now, limits, id, dead_letter)
end
if is_claimed then
  redis.call('DEL', record)
  redis.call('ZREM', leases, vm)
  forget_clone(work)
else
  redis.call('SREM', orders, member)
  redis.call('HDEL', origins, order)
end
redis.call('ZREM', sent, order)
redis.call('ZREM', seen, order)
count(counters, 'vm_orders_failed:' .. kind, 1)
return {1, dropped, expired}
