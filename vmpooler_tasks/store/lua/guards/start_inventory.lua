-- Starts the comparison of a pool's inventory with its queues. A pool without a record gets one that says `new`.
-- KEYS   1: inventories (hash)
-- ARGV   1: pool
-- RETURN the mark: `new` or `managed`, and an id that no other record of this or another life of this Redis has
local inventories, pool = KEYS[1], ARGV[1]

local record = redis.call('HGET', inventories, pool)
if not record or not string.find(record, '^%l+ [%d.]+ %d+$') then  -- anybody may have written it
  local time = redis.call('TIME')
  record = 'new ' .. time[1] .. '.' .. time[2] .. ' 0'
  redis.call('HSET', inventories, pool, record)
end
return string.match(record, '^(.*) %d+$') or record
