-- ARGV: version, hash, fence, done or not_charged, status, answer. An operator's word, so no owner is asked for.
local record, odd = read()
if odd then
  return odd
end
if not record or record.fence ~= ARGV[3] then
  return { 'lost' }
end
age(record)
if record.state ~= 'unknown' then
  -- The same word once more changes nothing.
  local again = ARGV[4] == 'done' and record.state == 'done' and redis.call('HGET', KEYS[1], 'by') == 'operator'
  return { again and 'ok' or 'lost' }
end
if ARGV[4] == 'done' then
  redis.call('HSET', KEYS[1], 'state', 'done', 'by', 'operator', 'status', ARGV[5], 'answer', ARGV[6])
else
  redis.call('DEL', KEYS[1])
end
redis.call('ZREM', KEYS[2], ARGV[2])
return { 'ok' }
