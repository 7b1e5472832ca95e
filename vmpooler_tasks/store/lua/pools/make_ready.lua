-- uses: pools/handover
-- A pending VM is ready: it goes to whom it was made for.
-- KEYS   1: pending   2: ready   3: running   4: completed   5: metadata   6: active   7: the request   8: delivered
--        9: boots of the day   10: last boot   11: work
-- ARGV   1: VM   2: pool   3: now, as VMPooler writes it   4: seconds since its clone began ('' for not known)
--        5: 1 if it was made for a request   6: lifetime with a token ('' for none)
-- RETURN ready, delivered, unwanted, or gone (it is not pending any more)
return deliver(2)
