-- uses: requests/replace_delivered
-- Repairs a VM that is in more than one queue: it stays in the queue that wins, and leaves the others. Nothing is done if the VM
-- has left the winner, or if what decided has changed. If it loses its place in running, its checkout there is forgotten, and an
-- open request that it was delivered to gets another VM.
-- KEYS   1: the winner   2: metadata   3: active VMs of the pool where it runs   4: its request   5: VMs delivered to the request
--        6: items of requests   7…: the other queues, each followed by the active VMs of its pool if it is running, else by itself
-- ARGV   1: VM   2: its checkout in active   3: its checkout   4: lifetime   5: destroy   6: ready   7: pool, each as it was read
--        ('' for none)   8: text of its item before the count ('' for a VM without a request)   9: text behind the count
--        10: 1 if the winner is running
-- RETURN the queues that it left
local winner, metadata, active, request, delivered, items = unpack(KEYS, 1, 6)
local vm, checkout_seen, before, behind, still_runs = ARGV[1], ARGV[2], ARGV[8], ARGV[9], ARGV[10]

if redis.call('SISMEMBER', winner, vm) == 0 then return {} end
local fields = redis.pcall('HMGET', metadata, 'checkout', 'lifetime', 'destroy', 'ready', 'pool')
for i = 1, 5 do
  if (fields[i] or '') ~= ARGV[i + 2] then return {} end
end
local checkout = redis.pcall('HGET', active, vm)
if (type(checkout) == 'string' and checkout or '') ~= checkout_seen then return {} end
local left = {}
for k = 7, #KEYS, 2 do
  local queue, active_there = KEYS[k], KEYS[k + 1]
  if redis.pcall('SREM', queue, vm) == 1 then
    left[#left + 1] = queue
    if active_there ~= queue then
      redis.pcall('HDEL', active_there, vm)
      if still_runs ~= '1' then replace_delivered(vm, request, delivered, items, before, behind) end
    end
  end
end
return left
