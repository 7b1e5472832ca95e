-- uses: requests/status
-- uses: requests/missing_vms
-- uses: requests/put_item
-- Puts back (unless it is only looked at) what a part of an open request has lost: VMs that left pending and were not delivered.
-- KEYS   1: the request   2: delivered to it   3: pending   4: items of requests
-- ARGV   1: VMs that the part asks for   2: metadata prefix   3: request   4: alias   5: item's text before the count
--        6: item's text behind the count   7: 1 if it is only looked at
-- RETURN how many were missing
if redis.call('EXISTS', KEYS[1]) == 0 or answer_to(KEYS[1]) then return 0 end
local missing = missing_vms(tonumber(ARGV[1]), KEYS[2], KEYS[3], KEYS[4], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6])
if missing <= 0 then return 0 end
if ARGV[7] ~= '1' then put_item(KEYS[4], 1, ARGV[5], missing, ARGV[6]) end
return missing
