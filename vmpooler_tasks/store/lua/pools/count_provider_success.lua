-- A provider has answered a question of this kind: what kept it from that is over, and so is the pause that it led to.
-- What failed in a row of other kinds, such as clones, is another matter.
-- KEYS   1: breaker
-- ARGV   1: failures that open it   2: kind (listings, looks)
-- RETURN 1 if it was closed
redis.call('HDEL', KEYS[1], ARGV[2], ARGV[2] == 'listings' and 'listing_until' or ARGV[2])
for _, count in ipairs(redis.call('HMGET', KEYS[1], 'failures', 'listings', 'looks')) do
  if tonumber(count or 0) >= tonumber(ARGV[1]) then return 0 end
end
return math.min(redis.call('HDEL', KEYS[1], 'open_until', 'trial_until', 'pause'), 1)
