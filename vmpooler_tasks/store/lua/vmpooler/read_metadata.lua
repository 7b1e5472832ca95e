-- Reads what decides whether metadata that belongs to no queued VM is an orphan.
-- KEYS   none (they are named by ARGV, so that one call reads many)
-- ARGV   1: field   2…: metadata keys
-- RETURN {expiries, values}; an expiry as TTL returns it (-1 none, -2 no such key); values as in read_queue
local field = ARGV[1]
local expiries, values = {}, {}
for i = 2, #ARGV do
  local value = redis.pcall('HGET', ARGV[i], field)
  if type(value) == 'table' then value = 1 end
  expiries[i - 1], values[i - 1] = redis.call('TTL', ARGV[i]), value
end
return {expiries, values}
