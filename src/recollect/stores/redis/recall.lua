-- ARGV: now, key. Returns what a write that stores messages did.
local _, live = read_head()
local record = live and redis.call('HGET', RECORDS, ARGV[2])
if not record then return false end
local ends, result = string.match(record, '^(%d+)\n%x+\n(.*)$')
return now < tonumber(ends) and string.sub(result, 1, 1) == 'w' and result
