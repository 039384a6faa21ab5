-- Stops a run that is active; deletes one whose last event is settled: it is gone from lists and look-ups at once, and from
-- the store when `deleted` is settled.
-- KEYS 1 base
-- ARGV 1 run, 2 environment
-- Returns `deleted`, `stopped`, `ended` (it has ended and its events are still being delivered; nothing changes) or
-- `not_found` (or deleted before).
local base, run = KEYS[1], ARGV[1]
local run_key, now = base .. ':run:' .. run, now_ms(base)
local state = redis.call('HMGET', run_key, 'status', 'environment', 'terminal', 'chunks', 'deleted_at')
if not state[1] or state[2] ~= ARGV[2] or state[5] then
  return 'not_found'
end
if state[1] == 'created' or run_active(state[1]) then
  run_end(base, run, run_key, 'stopped', '', '', '', now)
  return 'stopped'
end
if not state[3] or (tonumber(state[4]) or 0) > 0 then
  return 'ended'
end
redis.call('HSET', run_key, 'deleted_at', now)
local of_account = base .. ':account:' .. redis.call('HGET', run_key, 'account')
redis.call('ZREM', base .. ':environment:' .. state[2] .. ':run', run)
redis.call('ZREM', of_account .. ':ended', run)
tell_run(base, run, run_key, 'sync_job_run:deleted', now)
if (tonumber(redis.call('HGET', run_key, 'chunks')) or 0) == 0 then
  run_forget(run_key)
else
  -- It must outlast its last event, however long the webhook takes, and be found if its account goes meanwhile.
  redis.call('SADD', of_account .. ':run', run)
  for _, suffix in ipairs({ '', ':spec' }) do
    redis.call('PERSIST', run_key .. suffix)
  end
end
return 'deleted'
