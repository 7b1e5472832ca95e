-- Shared: notes a VM that left ready although no user had it: it was unfit, or had only a short time. Health counts the notes.
-- `VM`, line break, `why` → epoch; the last thousand, for so many seconds. A key of the wrong type does not stop the work.
local function note_recycled(notes, vm, why, now, seconds)
  redis.pcall('ZADD', notes, now, vm .. '\n' .. why)
  redis.pcall('ZREMRANGEBYSCORE', notes, '-inf', '(' .. now - seconds)
  redis.pcall('ZREMRANGEBYRANK', notes, 0, -1001)
  redis.pcall('EXPIRE', notes, seconds)
end
