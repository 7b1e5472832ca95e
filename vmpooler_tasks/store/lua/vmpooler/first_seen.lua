-- Returns when entries without a usable timestamp were first seen, and remembers those that are new. Nothing was first seen
-- later than now.
-- KEYS   1: first seen (zset name -> epoch)
-- ARGV   1: now ('' to remember nothing)   2: seconds until a pool that is no longer purged is forgotten   3…: names
-- RETURN an epoch for each name, nil if it is not known
local first_seen = KEYS[1]
local now, keep_seconds = ARGV[1], ARGV[2]
local names = {}
for i = 3, #ARGV do
  names[#names + 1] = ARGV[i]
  if now ~= '' then redis.call('ZADD', first_seen, 'LT', now, ARGV[i]) end
end
if now ~= '' then redis.call('EXPIRE', first_seen, keep_seconds) end
return redis.call('ZMSCORE', first_seen, unpack(names))
