-- A page of the index, the oldest first, and what is not open any more taken out of it. KEYS[1] is what a record's key
-- begins with, KEYS[2] the index; ARGV: version, where the page begins, how many it has.
local prefix = KEYS[1]
local found, gone = {}, {}
for _, hash in ipairs(redis.call('ZRANGE', KEYS[2], ARGV[2], ARGV[2] + ARGV[3] - 1)) do
  local values = redis.call('HMGET', prefix .. hash, unpack(FIELDS))
  if values[1] and values[1] ~= ARGV[1] then
    return { 'format', values[1] }
  end
  if values[2] == 'sent' or values[2] == 'unknown' then
    found[#found + 1] = hash
    found[#found + 1] = values
  else
    gone[#gone + 1] = hash
  end
end
if #gone > 0 then
  redis.call('ZREM', KEYS[2], unpack(gone))
end
return { 'page', text(now), #gone, found }
