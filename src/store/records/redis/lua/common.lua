-- Before every script of one record. KEYS[1] is the record, KEYS[2] the index of open ones; ARGV[1] the version of the
-- format, ARGV[2] the key's hash as it stands in the index. Times are the server's, in milliseconds.
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)

-- Lua would write a large number as 1.8e+12.
local function text(number)
  return string.format('%.0f', number)
end

local FIELDS = { 'v', 'state', 'fence', 'owner', 'lease', 'overdue', 'created', 'sent_at', 'status', 'meta', 'answer' }

-- The record as a table, nil where there is none, and what to answer where it is none that we can read.
local function read()
  local values = redis.call('HMGET', KEYS[1], unpack(FIELDS))
  if not values[1] then
    if redis.call('EXISTS', KEYS[1]) == 0 then
      return nil, nil
    end
    return nil, { 'format', 'none' }
  end
  if values[1] ~= ARGV[1] then
    return nil, { 'format', values[1] }
  end
  local record = { values = values }
  for place, name in ipairs(FIELDS) do
    record[name] = values[place]
  end
  return record, nil
end

-- A sent one whose time is over is unknown from now on. It stays in the index, and its expiry is not touched.
local function age(record)
  if record.state == 'sent' and now > tonumber(record.overdue) then
    redis.call('HSET', KEYS[1], 'state', 'unknown')
    record.state = 'unknown'
    record.values[2] = 'unknown'
  end
end

-- Whether the attempt that asks is the one that the record was given to. The fence alone would do as long as the server
-- forgets nothing; the owner keeps two processes apart where a failover made it forget a fence.
local function held_by(record, owner, fence)
  return record ~= nil and record.fence == fence and record.owner == owner
end
