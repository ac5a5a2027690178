-- On a Cluster: remove the entries of a conversation that is gone, unless it has been entered again.
-- KEYS: the index by creation. ARGV: id, generation, the index by activity.
local former = redis.call('ZSCORE', KEYS[1], ARGV[1])
if former and tonumber(former) > tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', ARGV[3], ARGV[1])
return 1
