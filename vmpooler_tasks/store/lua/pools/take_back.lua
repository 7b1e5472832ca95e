-- Shared: takes back the clone of a pending VM that no worker holds. Its slot is free, and its request waits again, without a retry
-- being counted. If a worker died during the clone, the provider may have the VM: it goes to completed.
-- uses: pools/lease
-- uses: requests/status
-- uses: requests/put_item
local function take_back(vm, pool, pending, completed, slots, counter, metadata, work, items, request_prefix)
  local request, alias = unpack(redis.call('HMGET', metadata, 'request_id', 'pool_alias'), 1, 2)
  local attempts = redis.call('HGET', work, 'attempts')
  if attempts and attempts ~= '0' then  -- junk, too: it was tried
    redis.call('SADD', completed, vm)
  else
    redis.call('DEL', metadata)
  end
  redis.call('SREM', pending, vm)
  free_slot(slots, counter, vm)
  forget_clone(work)
  local request_key = request and request_prefix .. request
  if request_key and redis.call('HEXISTS', request_key, 'requested') == 1 and not final_status(request_key) then
    put_item(items, 1, (alias or '') .. ':' .. pool .. ':', 1, ':' .. request)
  end
end
