local old, live = read_head()
local answer = known(live) or refusal(live)
if answer then return answer end
if is_over(ROWS, NEW_TOKENS) then return 'F' .. (live and live.text or '') end
if lacks_index(live, EXPIRES) then return wanted_entries(live) end
local head = live or create(old)
local removed = head.messages
if removed > 0 then
  claim(head)
  if LABEL ~= '' then
    archive(head, redis.call('LRANGE', MESSAGES, 0, -1))
    head.archive_bytes = head.archive_bytes + head.live_bytes
  end
  redis.call('UNLINK', MESSAGES)
end
head.messages, head.tokens, head.live_bytes = 0, 0, 0
return written(head, EXPIRES, true, add_rows(head), removed)
