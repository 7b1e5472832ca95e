-- Records the template that a pool's VMs are made from now. Removes the order to undo its override, which is done then.
-- KEYS   1: prepared templates (hash)   2: template overrides of the API (hash)   3: applied overrides (hash)
--        4: pools whose template override is to be undone (set)
-- ARGV   1: pool   2: template ('' for none)   3: the override that it comes from ('' for none)   4: 1 if an undo was ordered
-- RETURN 1; 0 if the override is another one by now, which the next inspection applies
local prepared, overrides, applied, undone = unpack(KEYS)
local pool, template, override, was_undone = unpack(ARGV)

if (redis.call('HGET', overrides, pool) or '') ~= override then return 0 end
redis.call('HSET', prepared, pool, template)
if override == '' then
  redis.call('HDEL', applied, pool)
else
  redis.call('HSET', applied, pool, override)
end
if was_undone == '1' then redis.call('SREM', undone, pool) end
return 1
