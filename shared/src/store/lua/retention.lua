-- A pass over the list of runs of one environment: those that have expired leave it. Where nothing is added any more nothing else
-- would take them out.
-- KEYS 1 base
-- ARGV 1 most runs looked at, 2 ms after the end of a list until it is gone through again
-- Returns how many left.
-- Invariants: several passes at once share a list out among them. Cost: O(runs looked at).
local base, most = KEYS[1], tonumber(ARGV[1])
local due, places, now = base .. ':retention', base .. ':retention_place', now_ms(base)
local environment = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, 1)[1]
if not environment then
  return 0
end
local index, removed = base .. ':environment:' .. environment .. ':run', 0
local place = redis.call('HGET', places, environment)
local runs = redis.call('ZRANGEBYLEX', index, place and '(' .. place or '-', '+', 'LIMIT', 0, most)
for _, run in ipairs(runs) do
  if redis.call('EXISTS', base .. ':run:' .. run) == 0 then
    redis.call('ZREM', index, run)
    removed = removed + 1
  end
end
if #runs == most then
  redis.call('HSET', places, environment, runs[most])
else
  redis.call('HDEL', places, environment)
  if redis.call('EXISTS', index) == 1 then
    redis.call('ZADD', due, now + tonumber(ARGV[2]), environment)
  else
    redis.call('ZREM', due, environment)
  end
end
return removed
