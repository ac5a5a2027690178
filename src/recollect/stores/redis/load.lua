-- ARGV: now, source, how, number, limit, batch ('' is none). Returns the head, the metadata and the items.
local _, live = read_head()
if not live then return false end
local source, how, number, limit, batch = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local key = source == 'live' and MESSAGES or ARCHIVE

local function range(first, last)
  if last < first then return {} end
  return redis.call('LRANGE', key, whole(first), whole(last))
end

-- Archived items carry their label in front; only some of them are wanted.
local function chosen()
  local items = {}
  for _, item in ipairs(redis.call('LRANGE', key, 0, -1)) do
    local is_wanted = batch == '' or string.sub(item, 1, #batch) == batch
    if is_wanted and how == 'after' then
      local size, start = string.match(item, '^(%d+):()')
      is_wanted = seq_of(string.sub(item, start + size)) > number
    end
    if is_wanted then items[#items + 1] = item end
  end
  local first, last = 1, #items
  if how == 'last' then first = math.max(1, #items - number + 1) end
  if how == 'offset' then first = number + 1 end
  if limit >= 0 then last = math.min(last, first + limit - 1) end
  local wanted = {}
  for i = first, last do wanted[#wanted + 1] = items[i] end
  return wanted
end

local items
if source ~= 'live' then
  items = chosen()
else
  local first = place_of(number + 1)
  items = limit < 0 and redis.call('LRANGE', key, whole(first), -1) or range(first, first + limit - 1)
end
return {live.text, redis.call('HGETALL', METADATA), items}
