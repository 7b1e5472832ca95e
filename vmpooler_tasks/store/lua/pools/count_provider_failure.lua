-- uses: pools/breaker
-- A provider has failed to answer a question.
-- KEYS   1: breaker
-- ARGV   1: now   2: failures that open it   3: seconds for which it opens   4: kind (listings, looks)   5: as how many it counts
-- RETURN epoch until which it is left alone now; '' if it is not
if ARGV[4] == 'listings' then redis.call('HDEL', KEYS[1], 'listing_until') end
return count_failure(KEYS[1], ARGV[4], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])) or ''
