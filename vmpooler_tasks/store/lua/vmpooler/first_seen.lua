-- When entries without a usable timestamp were first seen; those that are new are remembered.
-- KEYS   1: first seen (zset name -> epoch)
-- ARGV   1: now ('' to remember nothing)   2: seconds after which a pool that is not purged any more is forgotten
--        3…: names
-- RETURN an epoch for each name, nil if it is not known
local names = {}
for i = 3, #ARGV do
  names[#names + 1] = ARGV[i]
  if ARGV[1] ~= '' then redis.call('ZADD', KEYS[1], 'NX', ARGV[1], ARGV[i]) end
end
if ARGV[1] ~= '' then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return redis.call('ZMSCORE', KEYS[1], unpack(names))
