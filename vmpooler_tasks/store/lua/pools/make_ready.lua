-- uses: pools/handover
-- Hands a pending VM that is ready over to its pool or its request.
-- KEYS   1: pending   2: ready   3: running   4: completed   5: metadata   6: active   7: the request   8: delivered
--        9: boots of the day   10: last boot   11: work   12: last boot by these workers
-- ARGV   1: VM   2: pool   3: now, as VMPooler writes it   4: seconds since its clone started ('' for unknown)
--        5: 1 if it was made for a request   6: lifetime with a token ('' for none)
--        7: text of the request's item before the count
-- RETURN ready, delivered, request_closed, or left_queue (no longer pending)
return hand_over()
