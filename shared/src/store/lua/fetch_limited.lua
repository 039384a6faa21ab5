-- The source asked to wait: the account's lane is blocked, the task goes back to its front without using up an attempt,
-- the run is `rate_limited`, with the events when it was not before.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 run, 4 wait ms, 5 requests made, 6 node, 7 resource
-- Returns {`ok`, time in ms at which the lane is free}, {`stale`} or {`run_ended`} (the task is gone).
local base, id, run = KEYS[1], ARGV[1], ARGV[3]
local task = held(base, 'fetches', id, ARGV[2])
if not task then
  return { 'stale' }
end
local run_key, now = base .. ':run:' .. run, now_ms(base)
local state = redis.call('HMGET', run_key, 'status', 'webhook', 'events', 'limited_until')
if not run_active(state[1]) then
  task_done(base, 'fetches', id, task)
  return { 'run_ended' }
end
source_answered(base, task.lane)
local free_at = lane_block(base, 'fetches', task.lane, now + tonumber(ARGV[4]))
-- Kept apart, for a lane that waits for its account too: the end of that wait is not the end of this one.
local lane_key = base .. ':fetches:lane:' .. task.lane
local limited = math.max(tonumber(redis.call('HGET', lane_key, 'limited_until')) or 0, now + tonumber(ARGV[4]))
redis.call('HSET', lane_key, 'limited_until', limited)
-- The worker outlived this request: leases lost before it say nothing about it.
task_return(base, 'fetches', id, task, task.attempt, 0, task.body, now, false)
redis.call('HINCRBY', run_key, 'n' .. ARGV[6] .. ':requests', ARGV[5])
-- Overlapping waits of several tasks count once.
local counted_to = math.max(tonumber(state[4]) or 0, now)
if limited > counted_to then
  redis.call('HINCRBY', run_key, 'rate_limited_ms', limited - counted_to)
  redis.call('HSET', run_key, 'limited_until', limited)
end
if state[1] == 'running' then
  redis.call('HSET', run_key, 'status', 'rate_limited')
  note(base, run_key, 'rate_limited', { resource = ARGV[7], retry_at = limited })
  if subscribed(state[3], 'sync_job_run:rate_limited') then
    local payload = ARGV[7] .. ' ' .. limited
    stream_push(base, run, run_key, state[2], 'c', 'sync_job_run:rate_limited', 0, 0, payload)
    stream_schedule(base, run, run_key, 'c', now)
  end
  tell_run(base, run, run_key, 'sync_job_run:updated', now)
end
return { 'ok', free_at }
