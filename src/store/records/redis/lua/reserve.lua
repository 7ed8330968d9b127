-- KEYS[3]: the last fence given out. ARGV: version, hash, owner, call, lease, ttl, meta.
local record, odd = read()
if odd then
  return odd
end
local fence = micros
if record then
  if record.state == 'reserved' and record.owner == ARGV[3] and redis.call('HGET', KEYS[1], 'call') == ARGV[4] then
    -- The same call once more: its first reply was lost.
    return { 'mine', record.fence }
  end
  if record.state ~= 'reserved' or now < tonumber(record.lease) then
    age(record)
    return { 'held', text(now), record.values }
  end
  fence = math.max(fence, tonumber(record.fence) + 1)
end
-- Higher than any before: by the counter while the clock steps back, by the clock when the counter was lost.
fence = text(math.max(fence, (tonumber(redis.call('GET', KEYS[3]) or '0') or 0) + 1))
redis.call('SET', KEYS[3], fence)
redis.call('HSET', KEYS[1], 'v', ARGV[1], 'state', 'reserved', 'fence', fence, 'owner', ARGV[3], 'call', ARGV[4],
  'lease', text(now + ARGV[5]), 'overdue', '0', 'created', text(now), 'sent_at', '0', 'status', '0', 'meta', ARGV[7])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return { 'mine', fence }
