-- uses: still_stale
-- Lets metadata expire whose VM is in no queue of any pool and that does not expire already.
-- KEYS   1: counters   2…: every queue of every pool
-- ARGV   1: seconds until it expires   2: metadata prefix   3: counter   4…: VM, its `clone` as it was read
-- RETURN 1 or 0 for each VM; 0: it is queued again, expires already, or is gone
local vms, result, expiring, queued = {}, {}, 0, {}
for i = 4, #ARGV, 2 do vms[#vms + 1] = ARGV[i] end
for k = 2, #KEYS do
  -- An empty queue need not be asked about each VM; a key of the wrong type holds none.
  local size = redis.pcall('SCARD', KEYS[k])
  if type(size) == 'number' and size > 0 then
    local found = redis.call('SMISMEMBER', KEYS[k], unpack(vms))
    for i = 1, #vms do
      if found[i] == 1 then queued[i] = true end
    end
  end
end
for i = 1, #vms do
  local key = ARGV[2] .. vms[i]
  result[i] = 0
  if not queued[i] and unchanged(key, 'clone', ARGV[3 + 2 * i]) then
    result[i] = redis.call('EXPIRE', key, ARGV[1], 'NX')
    expiring = expiring + result[i]
  end
end
if expiring > 0 then redis.call('HINCRBY', KEYS[1], ARGV[3], expiring) end
return result
