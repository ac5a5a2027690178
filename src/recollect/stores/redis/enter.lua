-- On a Cluster: an entry of a conversation that is about to be created. KEYS: the index by creation.
-- ARGV: id, now, the index by activity. Returns a generation that this address has not had.
local time = redis.call('TIME')
local generation = tonumber(time[1]) * 1000000 + tonumber(time[2])
local former = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
generation = string.format('%.0f', math.max(generation, former + 1))
redis.call('ZADD', KEYS[1], generation, ARGV[1])
redis.call('ZADD', ARGV[3], 'NX', ARGV[2], ARGV[1])
return generation
