-- Shared: queues an item of a request, whose text is `before`, count, `behind`. Two items of the same text would be one member of
-- the set, and clones would be lost: they become one item with the double count.
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
