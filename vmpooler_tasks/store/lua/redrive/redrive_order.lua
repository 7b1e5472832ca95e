-- uses: redrive/run_step
-- uses: orders/checkout
-- Run the dead letter of an order for a running VM again: the order goes back into VMPooler's set in the step in which the
-- dead letter leaves.
-- KEYS   1: dead letters   2: the run   3: counters   4: orders (set)   5: running   6: metadata   7: active
--        8: origins (hash)   9: orders sent (zset)
-- ARGV   1: position   2: dead letter   3: queue of dead letters   4: VM   5: member of the set   6: order
--        7: 1 if the checkout of the VM has to be unchanged   8: that checkout   9: what the order carries until it is claimed
-- RETURN outcome
local queue_key, run, counters, orders, running, metadata, active, origins, sent = unpack(KEYS)
local position, member, queue, vm, order_member, order, needs_checkout, checkout, origin = unpack(ARGV)

local function finish(outcome) return step_on(run, queue_key, member, counters, queue, outcome) end

if not is_at(run, position) then return 'moved_on' end
if not redis.call('ZSCORE', queue_key, member) then return finish('gone') end
if redis.call('SISMEMBER', running, vm) == 0 then return finish('obsolete') end
if needs_checkout == '1' and (checkout == '' or checkout_of(metadata, active, vm) ~= checkout) then return finish('kept') end
redis.call('HSET', origins, order, origin)
redis.call('ZREM', sent, order)
redis.call('SADD', orders, order_member)
return finish('redriven')
