-- ARGV: version, hash, owner, fence, status, answer.
local record, odd = read()
if odd then
  return odd
end
if not held_by(record, ARGV[3], ARGV[4]) then
  return { 'lost' }
end
if record.state == 'sent' or record.state == 'unknown' then
  redis.call('HSET', KEYS[1], 'state', 'done', 'by', 'owner', 'status', ARGV[5], 'answer', ARGV[6])
  redis.call('ZREM', KEYS[2], ARGV[2])
  return { 'ok' }
end
if record.state == 'done' and redis.call('HGET', KEYS[1], 'by') == 'owner' then
  -- Once more by its owner: the first answer stays. Written again, so that WAIT has something to wait for.
  redis.call('HSET', KEYS[1], 'by', 'owner')
  return { 'ok' }
end
return { 'lost' }
