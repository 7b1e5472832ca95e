-- Chooses the orders whose messages are sent now: those that were not sent lately. One that was sent later than now, by a
-- clock that was wrong, is sent again.
-- KEYS   1: orders sent (zset)
-- ARGV   1: now   2: epoch until which an order is not sent again   3…: order
-- RETURN the orders to send
local sent = KEYS[1]
local now, until_epoch = ARGV[1], ARGV[2]

redis.call('ZREMRANGEBYSCORE', sent, '-inf', now)
redis.call('ZREMRANGEBYSCORE', sent, '(' .. (2 * until_epoch - now), '+inf')
local chosen = {}
for i = 3, #ARGV do
  if redis.call('ZADD', sent, 'NX', until_epoch, ARGV[i]) == 1 then chosen[#chosen + 1] = ARGV[i] end
end
return chosen
