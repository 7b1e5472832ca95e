#!lua flags=allow-oom
-- Replace the list of the pools of one configuration. A pool in it has not left the configuration: forget its removal.
-- KEYS   1: list of the configuration (set)   2: removed pools (hash: pool -> since and seen)
-- ARGV   1: seconds that the list is kept   2: the member that is no pool   3...: the pools
-- RETURN 1
local list, removed = KEYS[1], KEYS[2]
local kept_seconds = tonumber(ARGV[1])

redis.call('DEL', list)
for i = 2, #ARGV do
  redis.call('SADD', list, ARGV[i])
  redis.call('HDEL', removed, ARGV[i])
end
redis.call('EXPIRE', list, kept_seconds)
return 1
