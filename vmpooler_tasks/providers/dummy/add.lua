-- Adds a machine with its mark, unless there is one of its name.
-- KEYS   1: machines (hash)   2: marks (hash)
-- ARGV   1: name   2: record   3: mark
-- RETURN 1 if it was added, else 0
local machines, marks = unpack(KEYS)
local name, record, mark = unpack(ARGV)

if redis.call('HSETNX', machines, name, record) == 0 then return 0 end
redis.call('HSET', marks, name, mark)
return 1
