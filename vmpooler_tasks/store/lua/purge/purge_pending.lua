-- uses: purge/still_stale
-- uses: deadletters/push_many
-- Takes stale VMs out of pending, each with its dead letter, and lets their metadata expire.
-- KEYS   1: pending   2: dead letters   3: counters
-- ARGV   1: now   2: seconds to keep letters   3: most letters   4: seconds to keep metadata   5: metadata prefix
--        6: counter   7: 1 if dead letters are kept   8…: VM, its `clone` as it was read, its dead letter
-- RETURN {dropped, expired, 1 or 0 for each VM}; 0: it moved or changed meanwhile, and was left alone
local flags, stale, places = still_stale(KEYS[1], ARGV[5], 'clone', 8, 3)
if #stale == 0 then return {0, 0, unpack(flags)} end
local dropped, expired, now = 0, 0, tonumber(ARGV[1])
if ARGV[7] == '1' then
  local letters = {}
  for i = 1, #places do
    letters[2 * i - 1] = math.floor(now)
    letters[2 * i] = ARGV[places[i] + 2]
  end
  -- First: if the letters cannot be written, no VM has left.
  dropped, expired = push_letters(KEYS[2], KEYS[3], 'pending', now, tonumber(ARGV[2]), tonumber(ARGV[3]), letters)
end
redis.call('SREM', KEYS[1], unpack(stale))
for i = 1, #stale do redis.call('EXPIRE', ARGV[5] .. stale[i], ARGV[4]) end
count(KEYS[3], ARGV[6], #stale)
return {dropped, expired, unpack(flags)}
