-- A step through the claimed or delayed tasks of a queue: those of an environment's lane of `runs` go, with its ready ones, and
-- fetches whose run is gone, whichever environment it was of.
-- KEYS 1 base
-- ARGV 1 `runs` | `fetches`, 2 `claimed` | `delayed`, 3 environment (empty: none), 4 task that does this, 5 where to go on (`0`: from the start),
--      6 tasks looked at, about
-- Returns where to go on, `0` when there are no more; where it was, and changes nothing, if the task is not claimed any more.
-- Invariants: a task that is there all the time is looked at. Cost: O(tasks looked at).
local base, queue, environment = KEYS[1], ARGV[1], ARGV[3]
if queue == 'runs' and environment ~= '' then
  -- Rescued from whoever asks this, it is among the ready ones, which go.
  if not redis.call('ZSCORE', base .. ':runs:claimed', ARGV[4]) then
    return ARGV[5]
  end
  drop_lane(base, queue, environment)
end
local page = redis.call('ZSCAN', base .. ':' .. queue .. ':' .. ARGV[2], ARGV[5], 'COUNT', ARGV[6])
for i = 1, #page[2], 2 do
  local id = page[2][i]
  local goes
  if queue == 'fetches' then
    goes = redis.call('EXISTS', base .. ':run:' .. id:match('^[^.]+')) == 0
  else
    goes = id ~= ARGV[4] and redis.call('HGET', base .. ':' .. queue .. ':task:' .. id, 'lane') == environment
  end
  if goes then
    drop_task(base, queue, id)
  end
end
return page[1]
