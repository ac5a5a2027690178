local old, live = read_head()
local answer = known(live) or refusal(live)
if answer then return answer end
if is_over((live and live.messages or 0) + ROWS, (live and live.tokens or 0) + NEW_TOKENS) then
  return 'F' .. (live and live.text or '')
end
if lacks_index(live, EXPIRES) then return wanted_entries(live) end
local head = live or create(old)
return written(head, EXPIRES, false, add_rows(head), 0)
