-- uses: pools/breaker
-- uses: pools/pool_breaker
-- Counts a failed check or inventory, and suspends the provider or pool after too many of them in a row.
-- KEYS   1: breaker of the provider   2: breaker of the pool
-- ARGV   1: kind (checks, inventories)   2: now   3…6: limits (see breaker_limits_from)   7: failures to count
--        8: the error, on one line   9: pool
-- RETURN epoch until which this failure suspends the provider; '' if it does not
local breaker, pool_breaker = KEYS[1], KEYS[2]
local kind, now, limits = ARGV[1], tonumber(ARGV[2]), breaker_limits_from(3)
local weight, error_line, pool = tonumber(ARGV[7]), ARGV[8], ARGV[9]

if kind == 'inventories' then redis.call('HDEL', breaker, 'inventory_until') end
local suspended_until = count_failure_in_pool(breaker, pool_breaker, pool, kind, now, limits, weight, error_line)
return suspended_until or ''
