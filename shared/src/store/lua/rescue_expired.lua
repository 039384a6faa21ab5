-- Returns tasks whose lease has expired to the front of their lanes, with one more rescue counted.
-- KEYS 1 base
-- ARGV 1 queue, 2 most at once
-- Returns the ids. Called twice it does nothing the second time.
local base, queue = KEYS[1], ARGV[1]
local q, now = base .. ':' .. queue, now_ms(base)
local expired = redis.call('ZRANGEBYSCORE', q .. ':claimed', '-inf', now, 'LIMIT', 0, ARGV[2])
local back = {}
for _, id in ipairs(expired) do
  local key = q .. ':task:' .. id
  local task = redis.call('HMGET', key, 'lane', 'attempt', 'rescues', 'body', 'place')
  if task[1] then
    redis.call('DEL', key)
    leave_claimed(base, queue, id, { lane = task[1], place = task[5] })
    back[task[1]] = back[task[1]] or {}
    table.insert(back[task[1]], entry_of(id, task[2], tonumber(task[3]) + 1, now, task[4]))
  else
    redis.call('ZREM', q .. ':claimed', id)
  end
end
for lane, entries in pairs(back) do
  push_back(base, queue, lane, entries)
  lane_offer(base, queue, lane)
end
return expired
