-- The usual append: to a living conversation, below its limits, without news for the indexes. All others
-- go the long way, which begins behind this; nothing is written here before that is decided.
do
  local key, now, rows = KEYS[1], tonumber(ARGV[1]), #ARGV - 21
  local text = ARGV[7] == '' and ARGV[21] == '0' and rows > 0 and rows <= 1000 and redis.call('GET', key)
  if text then
    local generation, version, messages, tokens, archived, next_seq, fence, created, updated, expires,
      folded, live_bytes, archive_bytes, lease_until, due, broom, holder, owner,
      has_deletes = cmsgpack.unpack(text)
    local ends, name, prefix, first = tonumber(ARGV[2]), ARGV[4], ARGV[15], next_seq
    local max_messages, max_tokens = tonumber(ARGV[10]), tonumber(ARGV[11])
    local is_usual = messages > 0 and (not expires or now < expires)
      and (ARGV[3] == '' or ARGV[3] == owner)
    messages, tokens = messages + rows, tokens + ARGV[18]
    is_usual = is_usual and not (max_messages and messages > max_messages)
      and not (max_tokens and tokens + ARGV[12] * messages > max_tokens)
    if ends then
      is_usual = is_usual and due and due <= ends and broom and broom >= ends + 86400000000
    else
      is_usual = is_usual and not broom
    end
    local known_until
    if name ~= '' and is_usual then
      known_until = math.max(ARGV[6], ends or 0)
      is_usual = not has_deletes and version % 16 > 0 and due and due <= known_until
        and not redis.call('HGET', key .. ':keys', name)
        and (not ends or redis.call('EXISTS', key .. ':keys') == 1)
    end
    if is_usual then
      if rows == 1 then
        redis.call('RPUSH', key .. ':messages', string.format('%.0f|', first) .. ARGV[22])
      else
        local items = {}
        for i = 1, rows do items[i] = string.format('%.0f|', first + i - 1) .. ARGV[21 + i] end
        redis.call('RPUSH', key .. ':messages', unpack(items))
      end
      updated = math.max(updated, now)
      text = cmsgpack.pack(generation, version + 1, messages, tokens, archived, first + rows, fence,
        created, updated, ends, folded, live_bytes + ARGV[19], archive_bytes, lease_until, due, broom,
        holder, owner, has_deletes)
      redis.call('SET', key, text)
      if prefix ~= '' then
        local at, id = string.format('%.0f', updated), ARGV[17]
        local active = prefix .. 'active:{' .. ARGV[16]
        redis.call('ZADD', active .. '}', at, id)
        if owner ~= '' then
          if string.find(owner, '[%%:{}]') then
            owner = string.gsub(owner, '[%%:{}]', function(c) return string.format('%%%02X', c:byte()) end)
          end
          redis.call('ZADD', active .. ':' .. owner .. '}', at, id)
        end
      end
      local result = string.format('%.0f', first) .. '\n0\n' .. text
      if known_until then
        local ending = string.format('%.0f', known_until)
        redis.call('HSET', key .. ':keys', name, ending .. '\n' .. ARGV[5] .. '\nw' .. result)
        redis.call('ZADD', key .. ':deadlines', ending, name)
      end
      return 'W' .. result
    end
  end
end
