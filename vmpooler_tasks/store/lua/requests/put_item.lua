-- Shared: puts an item of a request into the queue of those, where its text is `before`, count, `behind`. A second one of
-- the same text would be the first one, and a clone would be lost: two become one of twice as many.
local function put_item(items, score, before, count, behind)
  local other = redis.call('ZSCORE', items, before .. count .. behind)
  while other do
    redis.call('ZREM', items, before .. count .. behind)
    count = count * 2
    if tonumber(other) < tonumber(score) then score = other end
    other = redis.call('ZSCORE', items, before .. count .. behind)
  end
  redis.call('ZADD', items, score, before .. count .. behind)
end
