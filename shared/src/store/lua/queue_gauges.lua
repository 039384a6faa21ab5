-- Measures a queue without walking its backlog.
-- KEYS 1 base
-- ARGV 1 queue, 2 most lanes, or claimed tasks, to look at
-- Returns {ready tasks in the lanes looked at, delayed, claimed, blocked lanes, ms the oldest of the tasks at the head and at
-- each quarter of those lanes is ready}.
-- A lane with ready tasks is among those that take turns, blocked, or at its limit; one at its limit has claimed tasks.
local LOOKS = 4
local base, queue, most = KEYS[1], ARGV[1], tonumber(ARGV[2])
local q, now = base .. ':' .. queue, now_ms(base)
local lanes = {}
local left = most
local function look_at(place)
  for _, entry in ipairs(left > 0 and redis.call('LRANGE', q .. ':turns:' .. place, 0, left - 1) or {}) do
    left = left - 1
    if entry:find('/', 1, true) then
      look_at(entry)
    else
      lanes[entry] = true
    end
  end
end
for _, environment in ipairs(redis.call('ZRANGE', q .. ':turns', 0, most - 1)) do
  look_at(environment)
end
for _, place in ipairs(redis.call('SRANDMEMBER', q .. ':full', most)) do
  look_at(place)
end
for _, lane in ipairs(redis.call('ZRANGE', q .. ':blocked', 0, most - 1)) do
  lanes[lane] = true
end
for _, id in ipairs(redis.call('ZRANGE', q .. ':claimed', 0, most - 1)) do
  lanes[redis.call('HGET', q .. ':task:' .. id, 'lane') or ''] = true
end
local ready, oldest = 0, now
for lane in pairs(lanes) do
  local length = redis.call('LLEN', q .. ':ready:' .. lane)
  ready = ready + length
  -- Fetches that go before others are newer than these: the head alone says nothing of what waits behind it.
  for part = 0, LOOKS - 1 do
    local entry = redis.call('LINDEX', q .. ':ready:' .. lane, math.floor(length * part / LOOKS))
    if entry then
      oldest = math.min(oldest, tonumber(entry:match('^%S+ %d+ %d+ (%d+)')))
    end
  end
end
return { ready, redis.call('ZCARD', q .. ':delayed'), redis.call('ZCARD', q .. ':claimed'),
  redis.call('ZCARD', q .. ':blocked'), now - oldest }
