-- Makes a redrive and its task, together.
-- KEYS 1 base
-- ARGV 1 redrive, 2 webhook, 3 environment, 4 in-flight limit of the webhook's lane, 5 ms that it is kept once it has ended,
--      6 filter (JSON), 7 letters a second or empty, 8 letters that match or empty (not counted)
-- Returns {`created`}, {`existed`} when a redrive of this id was made before, or {`active`, redrive} when another one of the
-- webhook is running (nothing is changed then).
-- Invariants: one redrive of a webhook runs at a time; a running one has one task.
local base, id, webhook, now = KEYS[1], ARGV[1], ARGV[2], now_ms(KEYS[1])
local key, index, active = base .. ':redrive:' .. id, base .. ':redrives:' .. webhook, base .. ':redriving:' .. webhook
if redis.call('EXISTS', key) == 1 then
  return { 'existed' }
end
local other = redis.call('GET', active)
if other then
  return { 'active', other }
end
redis.call('HSET', key, 'webhook', webhook, 'environment', ARGV[3], 'filter', ARGV[6], 'rate', ARGV[7], 'total', ARGV[8],
  'status', 'running', 'delivered', 0, 'failed', 0, 'cursor', '', 'created_at', now, 'retention_ms', ARGV[5])
redis.call('SET', active, id)
forget_expired(index, base .. ':redrive:')
redis.call('ZADD', index, 0, id)
-- As long as one is running the list must not expire.
redis.call('PERSIST', index)
lane_push(base, 'deliveries', webhook, ARGV[3], ARGV[4], { entry_of(id .. '.redrive', 0, 0, now, 'redrive.1') })
return { 'created' }
