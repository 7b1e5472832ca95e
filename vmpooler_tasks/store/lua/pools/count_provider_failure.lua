-- uses: pools/breaker
-- uses: pools/pool_breaker
-- Counts a failed check or inventory, and suspends the provider or pool after too many of them in a row.
-- KEYS   1: breaker of the provider   2: breaker of the pool
-- ARGV   1: kind (checks, inventories)   2: now   3: maximum failures   4: shortest suspension in seconds   5: failures to count
--        6: the error, on one line   7: pool   8: pools that have to fail before the provider is suspended
-- RETURN epoch until which this failure suspends the provider; '' if it does not
local breaker, pool_breaker = KEYS[1], KEYS[2]
local kind, error_line, pool, required = ARGV[1], ARGV[6], ARGV[7], tonumber(ARGV[8])
local now, max_failures, min_pause, weight = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

if kind == 'inventories' then redis.call('HDEL', breaker, 'inventory_until') end
local suspended_until =
  count_failure_in_pool(breaker, pool_breaker, pool, required, kind, now, max_failures, min_pause, weight, error_line)
return suspended_until or ''
