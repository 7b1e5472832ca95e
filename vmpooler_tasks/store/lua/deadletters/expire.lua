-- uses: deadletters/push_many
-- Remove the dead letters of one queue that are too old or too many, at most one page of each kind.
-- KEYS   1: dead letters   2: counters
-- ARGV   1: queue   2: now   3: seconds to keep   4: maximum count   5: maximum bytes
--        6: page: how many of each kind one call removes
-- RETURN {dropped, expired}; there may be more where one of them is not 0
local queue_key, counters = KEYS[1], KEYS[2]
local queue, now, limits = ARGV[1], tonumber(ARGV[2]), limits_from(3)

local dropped, expired = push_dead_letters(queue_key, counters, queue, now, limits, {})
return {dropped, expired}
