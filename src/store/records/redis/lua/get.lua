-- Reads only; that a sent one is overdue, the reader sees by the time.
local record, odd = read()
if odd then
  return odd
end
if not record then
  return { 'none' }
end
return { 'held', text(now), record.values }
