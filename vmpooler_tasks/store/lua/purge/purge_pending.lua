-- uses: purge/still_stale
-- uses: deadletters/push_many
-- Removes stale VMs from pending, each with its dead letter, and lets their metadata expire.
-- KEYS   1: pending   2: dead letters   3: counters
-- ARGV   1: now   2: seconds to keep dead letters   3: maximum count of them   4: maximum bytes
--        5: page (see limits_from)   6: seconds to keep metadata   7: metadata prefix   8: counter
--        9…: VM, its `clone` as it was read, its dead letter
-- RETURN {dropped, expired, 1 or 0 for each VM}; 0: it moved or changed meanwhile, and stays
local pending, dead_letters, counters = KEYS[1], KEYS[2], KEYS[3]
local now, limits = tonumber(ARGV[1]), limits_from(2)
local metadata_seconds, prefix, counter = ARGV[6], ARGV[7], ARGV[8]
local flags, stale, places = still_stale(pending, prefix, 'clone', 9, 3)
if #stale == 0 then return {0, 0, unpack(flags)} end
local dropped, expired = 0, 0
if limits then
  local entries = {}
  for i = 1, #places do
    entries[2 * i - 1] = math.floor(now)
    entries[2 * i] = ARGV[places[i] + 2]
  end
  -- First: if the dead letters cannot be written, no VM has left.
  dropped, expired = push_dead_letters(dead_letters, counters, 'pending', now, limits, entries)
end
redis.call('SREM', pending, unpack(stale))
for i = 1, #stale do redis.call('EXPIRE', prefix .. stale[i], metadata_seconds) end
count(counters, counter, #stale)
return {dropped, expired, unpack(flags)}
