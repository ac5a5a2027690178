-- ARGV: now, generation, fence.
local _, live = read_head()
if not (live and is_leased(live) and whole(live.generation) == ARGV[2] and whole(live.fence) == ARGV[3]) then
  return 0
end
live.holder, live.lease_until = '', nil
save_head(live)
return 1
