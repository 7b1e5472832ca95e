#!lua flags=allow-oom
-- uses: deadletters/push_one
-- One dead letter, unless the same failure was reported before; also when Redis is out of memory: it is kept nowhere else.
-- KEYS   1: dead letters (zset)   2: ids seen (zset id -> epoch)   3: counters
-- ARGV   1: queue   2: now   3: seconds to keep   4: most entries   5: id   6: member
-- RETURN {1 if new else 0, dropped, expired}
return {push_letter(KEYS[1], KEYS[2], KEYS[3], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6])}
