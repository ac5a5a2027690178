-- ARGV: now, prefix of the indexes, namespace, id.
-- Returns what was removed (conversations, records, keys), the next due time, generation and owner.
local old, live = read_head()
local prefix, due = ARGV[2], ARGV[2] ~= '' and ARGV[2] .. 'due'
local tag = string.match(HEAD, '{(.*)}$')
if not live then
  local records = old and old.messages + old.archived or 0
  remove_family()
  unindex(prefix, ARGV[3], ARGV[4], old and old.owner or '')
  if due then redis.call('ZREM', due, tag) end
  return {old and 1 or 0, records, 0, '', old and whole(old.generation) or '', old and old.owner or ''}
end
local ended = redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', whole(now), 'LIMIT', 0, 1000)
if #ended > 0 then
  redis.call('HDEL', RECORDS, unpack(ended))
  redis.call('ZREM', DEADLINES, unpack(ended))
end
local first = redis.call('ZRANGE', DEADLINES, 0, 0, 'WITHSCORES')[2]
live.due = tonumber(first)
if live.expires and not (live.due and live.due < live.expires) then live.due = live.expires end
save_head(live)
if due then
  if live.due then redis.call('ZADD', due, whole(live.due), tag) else redis.call('ZREM', due, tag) end
end
return {0, 0, #ended, whole(live.due), whole(live.generation), live.owner}
