-- ARGV: version, hash, owner, fence, within, ttl, meta.
local record, odd = read()
if odd then
  return odd
end
if not held_by(record, ARGV[3], ARGV[4]) then
  return { 'lost' }
end
if record.state == 'reserved' then
  redis.call('ZADD', KEYS[2], text(now), ARGV[2])
  redis.call('HSET', KEYS[1], 'state', 'sent', 'sent_at', text(now), 'overdue', text(now + ARGV[5]), 'meta', ARGV[7])
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  return { 'ok' }
end
age(record)
if record.state == 'sent' then
  -- Once more by its owner. Written again, so that WAIT has something to wait for on this connection.
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  return { 'ok' }
end
return { 'lost' }
