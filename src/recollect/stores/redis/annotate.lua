local old, live = read_head()
local answer = known(live) or refusal(live)
if answer then return answer end
if not live then return 'N' end
if lacks_index(live, EXPIRES) then return wanted_entries(live) end
return finish(live, EXPIRES, false, function(saved) return 'H' .. saved.text end)
