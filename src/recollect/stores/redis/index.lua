-- The indexes of a namespace and of its owners. On a Cluster they lie on other nodes: PREFIX is empty
-- there, and whoever calls has added the entries before.
local function owner_key(prefix, namespace, order, owner)
  local name = string.gsub(owner, '[%%:{}]', function(c) return string.format('%%%02X', c:byte()) end)
  return prefix .. order .. ':{' .. namespace .. ':' .. name .. '}'
end

local function unindex_owner(prefix, namespace, id, owner)
  if owner ~= '' then
    redis.call('ZREM', owner_key(prefix, namespace, 'active', owner), id)
    redis.call('ZREM', owner_key(prefix, namespace, 'created', owner), id)
  end
end

local function unindex(prefix, namespace, id, owner)
  if prefix == '' then return end
  redis.call('ZREM', prefix .. 'active:{' .. namespace .. '}', id)
  redis.call('ZREM', prefix .. 'created:{' .. namespace .. '}', id)
  redis.call('ZREM', prefix .. 'due', string.match(HEAD, '{(.*)}$'))
  unindex_owner(prefix, namespace, id, owner)
end

local function remove_family()
  redis.call('UNLINK', HEAD, MESSAGES, ARCHIVE, METADATA, RECORDS, DEADLINES)
end
