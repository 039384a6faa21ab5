-- A delivery task met a webhook that is switched off: its lane rests until the webhook is switched on again, which
-- unblocks it (release_webhook). The look after ARGV 4 is a safety net.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 environment, 4 ms until the next look
-- Returns `ok`, `active` (the caller's copy is old: read the webhook again; nothing was changed) or `stale`.
local base, id = KEYS[1], ARGV[1]
local task = held(base, 'deliveries', id, ARGV[2])
if not task then
  return 'stale'
end
local json = redis.call('GET', base .. ':object:webhook:' .. ARGV[3] .. ':' .. task.lane)
local webhook = json and cjson.decode(json)
if not webhook or webhook.is_active or type(webhook.deleted_at) == 'string' then
  return 'active'
end
local now, health = now_ms(base), base .. ':health:' .. task.lane
-- What waits, waits for the receiver; release_webhook ends that.
redis.call('HSETNX', health, 'failing_since', now)
redis.call('PERSIST', health)
lane_block(base, 'deliveries', task.lane, now + tonumber(ARGV[4]))
task_return(base, 'deliveries', id, task, task.attempt, 0, task.body, now, false)
return 'ok'
