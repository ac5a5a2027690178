-- The head of a conversation: numbers and texts packed under KEYS[1]; its family lies beside it.
local HEAD = KEYS[1]
local MESSAGES, ARCHIVE, METADATA = HEAD .. ':messages', HEAD .. ':archive', HEAD .. ':metadata'
local RECORDS, DEADLINES, TOMBS = HEAD .. ':keys', HEAD .. ':deadlines', HEAD .. ':deletes'
local now = tonumber(ARGV[1])

local function whole(number)
  return number and string.format('%.0f', number) or ''
end

-- Returns the head as it lies there, and the same unless it has expired.
local function read_head()
  local text = redis.call('GET', HEAD)
  if not text then return nil, nil end
  local generation, version, messages, tokens, archived, next_seq, fence, created, updated, expires,
    folded, live_bytes, archive_bytes, lease_until, due, broom, holder, owner,
    has_deletes = cmsgpack.unpack(text)
  local head = {
    text = text, generation = generation, version = version, messages = messages, tokens = tokens,
    archived = archived, next_seq = next_seq, fence = fence, created = created, updated = updated,
    expires = expires, folded = folded, live_bytes = live_bytes, archive_bytes = archive_bytes,
    lease_until = lease_until, due = due, broom = broom, holder = holder, owner = owner,
    has_deletes = has_deletes,
  }
  if head.expires and head.expires <= now then return head, nil end
  return head, head
end

local function save_head(head)
  head.text = cmsgpack.pack(head.generation, head.version, head.messages, head.tokens, head.archived,
    head.next_seq, head.fence, head.created, head.updated, head.expires, head.folded, head.live_bytes,
    head.archive_bytes, head.lease_until, head.due, head.broom, head.holder, head.owner,
    head.has_deletes)
  redis.call('SET', HEAD, head.text)
end

local function is_leased(head)
  return head.lease_until and now < head.lease_until
end

local function seq_of(item)
  return tonumber(string.match(item, '^(%d+)|'))
end

-- Returns the place (from 0) of the first live message with this seq or a higher one.
local function place_of(seq)
  local low, high = 0, redis.call('LLEN', MESSAGES)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if seq_of(redis.call('LINDEX', MESSAGES, middle)) < seq then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end
