-- uses: deadletters/push_many
-- Lets the dead letters of one queue go that are too old or too many.
-- KEYS   1: dead letters   2: counters
-- ARGV   1: queue   2: now   3: seconds to keep   4: most entries
-- RETURN {dropped, expired}; either is 1000 if there may be more
local dropped, expired = push_letters(KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), {})
return {dropped, expired}
