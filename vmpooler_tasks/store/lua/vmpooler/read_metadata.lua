-- What decides whether metadata in no queue is an orphan.
-- KEYS   none (they are named by ARGV, so that one call reads many)
-- ARGV   1: field   2…: metadata keys
-- RETURN {expiries, values}; an expiry as TTL tells it (-1 none, -2 gone); values as in read_queue
local expiries, values = {}, {}
for i = 2, #ARGV do
  expiries[i - 1] = redis.call('TTL', ARGV[i])
  local value = redis.pcall('HGET', ARGV[i], ARGV[1])
  if type(value) == 'table' then value = 1 end
  values[i - 1] = value
end
return {expiries, values}
