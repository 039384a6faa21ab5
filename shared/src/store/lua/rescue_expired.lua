-- Returns tasks whose lease has expired to the front of their lanes, with one more rescue counted.
-- KEYS 1 base
-- ARGV 1 queue, 2 most at once
-- Returns the ids. Called twice it does nothing the second time.
local base, queue = KEYS[1], ARGV[1]
local q, now = base .. ':' .. queue, now_ms(base)
local expired = redis.call('ZRANGEBYSCORE', q .. ':claimed', '-inf', now, 'LIMIT', 0, ARGV[2])
for _, id in ipairs(expired) do
  local key = q .. ':task:' .. id
  local task = redis.call('HMGET', key, 'lane', 'attempt', 'rescues', 'body', 'place')
  if task[1] then
    task_return(base, queue, id, { key = key, lane = task[1], place = task[5] }, task[2], tonumber(task[3]) + 1, task[4], now, false)
  else
    redis.call('ZREM', q .. ':claimed', id)
  end
end
return expired
