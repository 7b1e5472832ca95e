-- Copies the templates in effect from the key of an earlier version to VMPooler's key, and deletes the former key.
-- KEYS   1: templates of an earlier version (hash)   2: prepared templates (hash)
-- ARGV   none
-- RETURN how many pools were copied
local former, prepared = unpack(KEYS)

local templates = redis.call('HGETALL', former)
for i = 1, #templates, 2 do redis.call('HSET', prepared, templates[i], templates[i + 1]) end
redis.call('DEL', former)
return #templates / 2
