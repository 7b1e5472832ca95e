-- Shared: the progress of the pool workers, a hash: work (`clones`, `requests`, `inspection:POOL`) → epoch of its last end.
-- A hash of the wrong type does not stop the work: health names the key.
local function note_end(progress, work)
  redis.pcall('HSET', progress, work, redis.call('TIME')[1])
end
