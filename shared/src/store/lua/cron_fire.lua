-- Settles a fire with the run it makes, unless it was settled before or its last run is still active.
-- KEYS 1 base
-- ARGV 1 trigger, 2 due as it was claimed, 3 next due (empty: there is none), 4 its time with jitter, 5 fires passed over,
--      6 `skip` | `queue` | `allow`: what to do while the last run is active, 7 ms until the next look at a fire that waits,
--      8 run, 9 environment, 10 spec (JSON), 11 in-flight limit of the environment's lane, 12… field, value, … of the run's state
-- Returns `fired`, `skipped`, `waits` (it stays due, and is looked at when that run has ended, or when there may be room among
-- the runs that wait for its mutex key) or `stale`.
-- Invariants: one run a fire; a fire that waits makes one run, however many fires pass meanwhile.
local base, id, run, environment = KEYS[1], ARGV[1], ARGV[8], ARGV[9]
local key, now = base .. ':cron:' .. id, now_ms(base)
local state = redis.call('HMGET', key, 'due', 'last_run_id')
if state[1] ~= ARGV[2] then
  return 'stale'
end
local last = state[2] and redis.call('HGET', base .. ':run:' .. state[2], 'status')
local active = last == 'created' or last == 'running' or last == 'rate_limited'
if active and ARGV[6] == 'queue' then
  redis.call('HSET', key, 'waits', state[2])
  redis.call('ZADD', base .. ':cron', now + tonumber(ARGV[7]), id)
  return 'waits'
end
if active and ARGV[6] == 'skip' then
  redis.call('HINCRBY', key, 'skipped', 1)
  cron_advance(base, id, environment, ARGV[3], ARGV[4], ARGV[5])
  return 'skipped'
end
local made, holder = run_accept(base, run, environment, ARGV[10], ARGV[11], { unpack(ARGV, 12) }, now)
if holder then
  -- As many runs as may wait for its mutex key.
  redis.call('ZADD', base .. ':cron', now + tonumber(ARGV[7]), id)
  return 'waits'
end
if not made then
  return 'stale'
end
redis.call('HSET', base .. ':run:' .. run, 'cron', id)
redis.call('HSET', key, 'last_run_at', now, 'last_run_id', run)
redis.call('HDEL', key, 'error')
cron_advance(base, id, environment, ARGV[3], ARGV[4], ARGV[5])
return 'fired'
