-- The usual reads, without the filters of the long way behind this.
do
  local text = (ARGV[2] == 'live' or ARGV[6] == '') and ARGV[3] ~= 'after' and redis.call('GET', KEYS[1])
  if text then
    local expires = select(10, cmsgpack.unpack(text))
    if expires and expires <= tonumber(ARGV[1]) then return false end
    local items = KEYS[1] .. (ARGV[2] == 'live' and ':messages' or ':archive')
    local number, limit, first, last = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[4], -1
    if ARGV[3] == 'last' then
      limit, first = number > 0 and -1 or 0, '-' .. ARGV[4]
    elseif limit > 0 then
      last = string.format('%.0f', number + limit - 1)
    end
    local found = limit == 0 and {} or redis.call('LRANGE', items, first, last)
    return {text, redis.call('HGETALL', KEYS[1] .. ':metadata'), found}
  end
end
