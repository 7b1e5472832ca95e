-- uses: pools/breaker
-- Counts a failed check or inventory of a provider, and suspends the provider after too many of them in a row.
-- KEYS   1: breaker
-- ARGV   1: kind (checks, inventories)   2: now   3: maximum failures   4: shortest suspension in seconds   5: failures to count
--        6: the error, on one line
-- RETURN epoch until which this failure suspends the provider; '' if it does not
local breaker, kind, error_line = KEYS[1], ARGV[1], ARGV[6]
local now, max_failures, min_pause, weight = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

if kind == 'inventories' then redis.call('HDEL', breaker, 'inventory_until') end
return count_failure(breaker, kind, now, max_failures, min_pause, weight, error_line) or ''
