-- uses: redis/numbers
-- Claim one due tick of the schedule for one beat, for as long as it takes to send it.
-- KEYS   1: schedule (hash: entry -> epoch of its last tick, claim field -> epoch until which the next tick is claimed)
-- ARGV   1: entry   2: its claim field   3: last tick as this beat read it ('' for never)   4: now   5: claimed until
--        6: seconds that another claim may end later than this one; one that ends even later has no effect
-- RETURN 1 if claimed, 0 if another beat was first
local schedule = KEYS[1]
local entry, claim_field, last_tick, now, claimed_until = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local max_claim = tonumber(claimed_until) + ARGV[6]

local recorded = redis.call('HGET', schedule, entry) or ''
if recorded ~= last_tick and (number_of(recorded) or last_tick ~= '') then return 0 end  -- what is no number counts as never
local other = number_of(redis.call('HGET', schedule, claim_field)) or 0
if other > now and other <= max_claim then return 0 end
redis.call('HSET', schedule, claim_field, claimed_until)
return 1
