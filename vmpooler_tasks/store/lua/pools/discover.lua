-- VMs that a provider has and no queue names are put into discovered.
-- KEYS   1: discovered   2…: the other queues of the pool
-- ARGV   1: metadata prefix   2: pool   3…: VMs
-- RETURN those that were put in
local found = {}
for i = 3, #ARGV do
  local queued = redis.call('SISMEMBER', KEYS[1], ARGV[i])
  for k = 2, #KEYS do queued = queued + redis.call('SISMEMBER', KEYS[k], ARGV[i]) end
  local pool = redis.pcall('HGET', ARGV[1] .. ARGV[i], 'pool')
  if queued == 0 and (type(pool) ~= 'string' or pool == ARGV[2]) then
    redis.call('SADD', KEYS[1], ARGV[i])
    found[#found + 1] = ARGV[i]
  end
end
return found
