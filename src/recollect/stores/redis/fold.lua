local old, live = read_head()
local answer = known(live) or refusal(live)
if answer then return answer end
if not live then return 'G' end

-- The stretch of the list that holds all that goes, and what stays or comes in there.
local low = place_of(tonumber(ARGV[FIRST_SEQ]))
local high = place_of(tonumber(ARGV[FIRST_META - 1]))
local going, coming, stretch = {}, {}, {}
for i = 1, SEQS do
  going[ARGV[FIRST_SEQ + i - 1]] = true
  if i <= ROWS then coming[ARGV[FIRST_SEQ + i - 1]] = ARGV[FIRST_ROW + i - 1] end
end
local removed, tokens, bytes = {}, 0, 0
for _, item in ipairs(redis.call('LRANGE', MESSAGES, low, high)) do
  local seq, cost, data = string.match(item, '^(%d+)|(%d+)|%d+|()')
  if going[seq] then
    removed[#removed + 1] = item
    tokens = tokens + tonumber(cost)
    bytes = bytes + #item - data + 1
    if coming[seq] then stretch[#stretch + 1] = seq .. '|' .. coming[seq] end
  else
    stretch[#stretch + 1] = item
  end
end
if #removed ~= SEQS then return 'G' end
if is_over(live.messages - SEQS + ROWS, live.tokens - tokens + NEW_TOKENS) then
  return 'F' .. live.text
end
if lacks_index(live, live.expires) then return wanted_entries(live) end

claim(live)
-- The shorter end of the list moves.
if low <= live.messages - 1 - high then
  local before = low > 0 and redis.call('LRANGE', MESSAGES, 0, low - 1) or {}
  local items = {}
  for i = #stretch, 1, -1 do items[#items + 1] = stretch[i] end
  for i = #before, 1, -1 do items[#items + 1] = before[i] end
  redis.call('LTRIM', MESSAGES, high + 1, -1)
  push('LPUSH', MESSAGES, items)
else
  local behind = redis.call('LRANGE', MESSAGES, high + 1, -1)
  redis.call('LTRIM', MESSAGES, 0, low - 1)
  push('RPUSH', MESSAGES, stretch)
  push('RPUSH', MESSAGES, behind)
end
if LABEL ~= '' then
  archive(live, removed)
  live.archive_bytes = live.archive_bytes + bytes
end
live.messages = live.messages - SEQS + ROWS
live.tokens = live.tokens - tokens + NEW_TOKENS
live.live_bytes = live.live_bytes - bytes + NEW_BYTES
live.folded = math.max(live.updated, now)
return written(live, live.expires, true, ROWS > 0 and ARGV[FIRST_SEQ] or '', SEQS)
