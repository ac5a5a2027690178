local old, live = read_head()
local answer = known(live) or refusal(live)
if answer then return answer end
local result = live and 'D1' or 'D0'
if KEY ~= '' then
  local records = redis.call('HGETALL', TOMBS)
  for i = 1, #records, 2 do
    if tonumber(string.match(records[i + 1], '^%d+')) <= now then redis.call('HDEL', TOMBS, records[i]) end
  end
  redis.call('HSET', TOMBS, redis.sha1hex(KEY), whole(KEY_UNTIL) .. '\n' .. BODY .. '\n' .. result)
  redis.call('PEXPIRE', TOMBS, whole(math.floor((KEY_UNTIL - now + GRACE) / 1000)))
end
if old then
  remove_family()
  unindex(PREFIX, NAMESPACE, ID, old.owner)
end
return old and PREFIX == '' and result .. whole(old.generation) .. '\n' .. old.owner or result
