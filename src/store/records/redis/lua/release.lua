-- ARGV: version, hash, owner, fence. What is gone already is released: so the call may be repeated.
local record, odd = read()
if odd then
  return odd
end
if not record then
  return { 'ok' }
end
if not held_by(record, ARGV[3], ARGV[4]) then
  return { 'lost' }
end
age(record)
if record.state == 'reserved' or record.state == 'sent' then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[2])
  return { 'ok' }
end
return { 'lost' }
