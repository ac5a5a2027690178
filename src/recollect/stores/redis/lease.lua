-- ARGV: now, holder, until. Returns the generation and the fence.
local _, live = read_head()
if not live then return false end
if not is_leased(live) then
  live.fence = live.fence + 1
elseif live.holder ~= ARGV[2] then
  return false
end
live.holder, live.lease_until = ARGV[2], tonumber(ARGV[3])
save_head(live)
return whole(live.generation) .. '\n' .. whole(live.fence)
