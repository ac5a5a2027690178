-- What every write of the contract does. Nothing is written before the last check is done.
local EXPIRES, OWNER = tonumber(ARGV[2]), ARGV[3]
local KEY, BODY, KEY_UNTIL = ARGV[4], ARGV[5], tonumber(ARGV[6])
local LEASE_GENERATION, LEASE_FENCE, VERSION = ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
local MAX_MESSAGES, MAX_TOKENS, OVERHEAD = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local LABEL, CANDIDATE = ARGV[13], ARGV[14]
local PREFIX, NAMESPACE, ID = ARGV[15], ARGV[16], ARGV[17]
local NEW_TOKENS, NEW_BYTES, SEQS, METAS = tonumber(ARGV[18]), tonumber(ARGV[19]), tonumber(ARGV[20]), tonumber(ARGV[21])
local FIRST_SEQ = 22
local FIRST_META = FIRST_SEQ + SEQS
local FIRST_ROW = FIRST_META + METAS
local ROWS = #ARGV - FIRST_ROW + 1
local GRACE, CHUNK = 86400000000, 1000

-- ---- checks, in the contract's order

-- Returns the first result of a known key, or 'K' when it was used for another body.
local function known(live)
  if KEY == '' then return nil end
  local tomb = (not live or live.has_deletes) and redis.call('HGET', TOMBS, redis.sha1hex(KEY))
  local record = live and redis.call('HGET', RECORDS, KEY)
  for _, found in pairs({tomb or nil, record or nil}) do
    local ends, body, result = string.match(found, '^(%d+)\n(%x+)\n(.*)$')
    if now < tonumber(ends) then return body == BODY and result or 'K' end
  end
  return nil
end

local function refusal(live)
  if LEASE_GENERATION ~= '' and not (live and is_leased(live)
      and whole(live.generation) == LEASE_GENERATION and live.fence == LEASE_FENCE) then
    return 'L'
  end
  local version = live and live.version or 0
  if VERSION and VERSION ~= version then return 'V' .. whole(version) end
  return nil
end

local function is_over(messages, tokens)
  return (MAX_MESSAGES and messages > MAX_MESSAGES)
    or (MAX_TOKENS and tokens + OVERHEAD * messages > MAX_TOKENS)
end

-- Returns when sweep has to look at it: at its deadline, or when its first key record ends.
local function due_of(live, expires)
  local due = live and live.due
  if expires and not (due and due <= expires) then due = expires end
  local ends = KEY ~= '' and math.max(KEY_UNTIL, expires or 0)
  if ends and not (due and due <= ends) then due = ends end
  return due
end

-- Tells that entries have to be made on other nodes first.
local function lacks_index(live, expires)
  if PREFIX ~= '' then return false end
  if not live then return not tonumber(CANDIDATE) end
  return CANDIDATE == '' and ((OWNER ~= '' and OWNER ~= live.owner) or due_of(live, expires) ~= live.due)
end

local function wanted_entries(live)
  return live and 'Io' .. whole(live.generation) .. '\n' .. live.owner or 'In'
end

-- ---- changes

-- A server that takes no writes now (memory, disk) refuses the first one of a script: so that must not
-- be one that only frees memory, which is never refused.
local function claim(head)
  redis.call('SET', HEAD, head.text)
end

local function create(expired)
  local generation = tonumber(CANDIDATE)
  if not generation then
    local time = redis.call('TIME')
    generation = tonumber(time[1]) * 1000000 + tonumber(time[2])
    if expired then generation = math.max(generation, expired.generation + 1) end
  end
  if expired then
    claim(expired)
    remove_family()
    unindex(PREFIX, NAMESPACE, ID, expired.owner)
  end
  return {
    generation = generation, version = 0, messages = 0, tokens = 0, archived = 0, next_seq = 1,
    fence = 0, created = now, updated = now, live_bytes = 0, archive_bytes = 0, holder = '', owner = '',
    has_deletes = redis.call('EXISTS', TOMBS) == 1, is_new = true,
  }
end

local function push(command, key, items)
  for first = 1, #items, CHUNK do
    redis.call(command, key, unpack(items, first, math.min(first + CHUNK - 1, #items)))
  end
end

-- Adds the rows behind the live messages; returns the first seq, '' if there are none.
local function add_rows(head)
  local first = head.next_seq
  local items = {}
  for i = 1, ROWS do
    items[i] = whole(first + i - 1) .. '|' .. ARGV[FIRST_ROW + i - 1]
  end
  push('RPUSH', MESSAGES, items)
  head.messages = head.messages + ROWS
  head.tokens = head.tokens + NEW_TOKENS
  head.live_bytes = head.live_bytes + NEW_BYTES
  head.next_seq = first + ROWS
  return ROWS > 0 and whole(first) or ''
end

local function archive(head, items)
  if LABEL == '' then return 0 end
  local labelled = {}
  for i, item in ipairs(items) do
    labelled[i] = #LABEL .. ':' .. LABEL .. item
  end
  push('RPUSH', ARCHIVE, labelled)
  head.archived = head.archived + #items
end

local function merge_metadata()
  for i = FIRST_META, FIRST_ROW - 1, 2 do
    if ARGV[i + 1] == '' then
      redis.call('HDEL', METADATA, ARGV[i])
    else
      redis.call('HSET', METADATA, ARGV[i], ARGV[i + 1])
    end
  end
end

local function index(head, former_owner)
  if PREFIX == '' then return end
  local owner, updated = head.owner, whole(head.updated)
  redis.call('ZADD', PREFIX .. 'active:{' .. NAMESPACE .. '}', updated, ID)
  if head.is_new then
    redis.call('ZADD', PREFIX .. 'created:{' .. NAMESPACE .. '}', whole(head.generation), ID)
  end
  if owner ~= '' then
    redis.call('ZADD', owner_key(PREFIX, NAMESPACE, 'active', owner), updated, ID)
  end
  if owner ~= former_owner then
    unindex_owner(PREFIX, NAMESPACE, ID, former_owner)
    redis.call('ZADD', owner_key(PREFIX, NAMESPACE, 'created', owner), whole(head.generation), ID)
  end
end

-- Redis's own expiry frees the memory of what nobody sweeps, long after the deadline. The head stays
-- until a sweep, which finds all index entries through it. Returns what is to be done at the end.
local function plan_broom(head, is_forced)
  if not head.expires then
    local had = head.broom
    head.broom = nil
    return had and 'PERSIST'
  end
  if is_forced or not head.broom or head.broom < head.expires + GRACE or head.messages == ROWS
      or (METAS > 0 and redis.call('EXISTS', METADATA) == 0)
      or (KEY ~= '' and redis.call('EXISTS', RECORDS) == 0) then
    head.broom = head.expires + 2 * GRACE
    return 'PEXPIRE'
  end
end

local function set_broom(head, plan)
  local wait = plan == 'PEXPIRE' and whole(math.floor((head.broom - now) / 1000)) or nil
  for _, key in ipairs({MESSAGES, ARCHIVE, METADATA, RECORDS, DEADLINES}) do
    if wait then redis.call(plan, key, wait) else redis.call(plan, key) end
  end
end

local function remember(head, result)
  if KEY == '' then return end
  local old = redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', whole(now), 'LIMIT', 0, 100)
  if #old > 0 then
    redis.call('HDEL', RECORDS, unpack(old))
    redis.call('ZREM', DEADLINES, unpack(old))
  end
  local ends = whole(math.max(KEY_UNTIL, head.expires or 0))
  redis.call('HSET', RECORDS, KEY, ends .. '\n' .. BODY .. '\n' .. result)
  redis.call('ZADD', DEADLINES, ends, KEY)
end

-- Saves the head and all that goes with it. ``result_of`` turns the saved head into what is returned.
local function finish(head, expires, is_forced, result_of)
  local former_owner = head.owner
  if OWNER ~= '' then head.owner = OWNER end
  head.version = head.version + 1
  head.updated = math.max(head.updated, now)
  head.expires = expires
  local due = due_of(head, expires)
  if due ~= head.due then
    head.due = due
    if PREFIX ~= '' then
      redis.call('ZADD', PREFIX .. 'due', whole(due), string.match(HEAD, '{(.*)}$'))
    end
  end
  local plan = plan_broom(head, is_forced)
  if METAS > 0 then merge_metadata() end
  save_head(head)
  index(head, former_owner)
  local result = result_of(head)
  remember(head, result)
  if plan then set_broom(head, plan) end
  return result
end

-- Returns the result of a write that stores messages; a known key gives 'w' in place of 'W'.
local function written(head, expires, is_forced, first_seq, removed)
  local result = finish(head, expires, is_forced, function(saved)
    return 'w' .. first_seq .. '\n' .. whole(removed) .. '\n' .. saved.text
  end)
  return 'W' .. string.sub(result, 2)
end
