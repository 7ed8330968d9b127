-- ARGV: version, hash, fence. Whoever knows the fence may say it: unknown frees nothing.
local record, odd = read()
if odd then
  return odd
end
if not record or record.fence ~= ARGV[3] then
  return { 'lost' }
end
if record.state == 'sent' then
  redis.call('HSET', KEYS[1], 'state', 'unknown')
  record.state = 'unknown'
end
return { record.state == 'unknown' and 'ok' or 'lost' }
