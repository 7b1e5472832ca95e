-- uses: breaker
-- A provider has failed to say what VMs it has.
-- KEYS   1: breaker
-- ARGV   1: now   2: failures that open it   3: seconds for which it opens
-- RETURN epoch until which it is left alone now; '' if it is not
return count_failure(KEYS[1], 'listings', tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])) or ''
