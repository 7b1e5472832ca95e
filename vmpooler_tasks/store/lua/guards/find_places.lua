#!lua flags=no-writes,allow-oom
-- Finds the queues that hold VMs at this instant. A key of the wrong type holds no VM.
-- KEYS   1…: queues
-- ARGV   1…: VMs
-- RETURN for each VM the positions of its queues in KEYS
local places = {}
for i = 1, #ARGV do places[i] = {} end
for k = 1, #KEYS do
  local flags = redis.pcall('SMISMEMBER', KEYS[k], unpack(ARGV))
  for i = 1, flags.err and 0 or #ARGV do
    if flags[i] == 1 then places[i][#places[i] + 1] = k end
  end
end
return places
