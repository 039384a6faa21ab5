-- Settles a fire that can make no run, and tells so, unless it was settled before.
-- KEYS 1 base
-- ARGV 1 trigger, 2 due as it was claimed, 3 next due (empty: there is none), 4 its time with jitter, 5 fires passed over,
--      6 environment, 7 why, 8… effects
-- Returns `failed` or `stale`.
local base, id = KEYS[1], ARGV[1]
local key = base .. ':cron:' .. id
if redis.call('HGET', key, 'due') ~= ARGV[2] then
  return 'stale'
end
redis.call('HINCRBY', key, 'failed', 1)
redis.call('HSET', key, 'error', ARGV[7])
cron_advance(base, id, ARGV[6], ARGV[3], ARGV[4], ARGV[5])
apply_effects(base, ARGV[6], ARGV, 8, now_ms(base))
return 'failed'
