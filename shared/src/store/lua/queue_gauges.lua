-- Measures a queue without walking its backlog.
-- KEYS 1 base
-- ARGV 1 queue, 2 lanes to look at
-- Returns {ready tasks in the lanes looked at, delayed, claimed, blocked lanes, ms the oldest of those tasks is ready}.
local base, queue = KEYS[1], ARGV[1]
local q, now = base .. ':' .. queue, now_ms(base)
local ready, oldest = 0, now
for _, lane in ipairs(redis.call('LRANGE', q .. ':rotation', 0, tonumber(ARGV[2]) - 1)) do
  ready = ready + redis.call('LLEN', q .. ':ready:' .. lane)
  local first = redis.call('LINDEX', q .. ':ready:' .. lane, 0)
  if first then
    oldest = math.min(oldest, tonumber(first:match('^%S+ %d+ %d+ (%d+)')))
  end
end
return { ready, redis.call('ZCARD', q .. ':delayed'), redis.call('ZCARD', q .. ':claimed'),
  redis.call('ZCARD', q .. ':blocked'), now - oldest }
