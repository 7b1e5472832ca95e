#!lua flags=allow-oom
-- uses: deadletters/push_one
-- Add one dead letter unless its failure was reported before. It also runs while Redis is out of memory, since the
-- failure is stored nowhere else.
-- KEYS   1: dead letters (zset)   2: ids seen (zset id -> epoch)   3: counters
-- ARGV   1: queue   2: now   3: seconds to keep   4: maximum count   5: maximum bytes
--        6: page: how many of each kind one call removes   7: id   8: member
-- RETURN {1 if new else 0, dropped, expired}
local queue_key, ids, counters = KEYS[1], KEYS[2], KEYS[3]
local queue, now, limits, id, member = ARGV[1], tonumber(ARGV[2]), limits_from(3), ARGV[7], ARGV[8]

return {push_dead_letter(queue_key, ids, counters, queue, now, limits, id, member)}
