-- What a webhook leaves behind beside its runs and dead letters, which must be gone: its lane, its outbox, its redrives, how its
-- receiver was doing, its attempts.
-- KEYS 1 base
-- ARGV 1 webhook, 2 most redrives, and most streams that fetches were parked for
-- Returns `done`, or `more` when there are more of them.
local base, webhook, most = KEYS[1], ARGV[1], tonumber(ARGV[2])
local outbox, flow, attempts = base .. ':outbox:' .. webhook, base .. ':flow:' .. webhook, base .. ':attempts:' .. webhook
drop_stream(base, webhook, outbox, webhook, 'c')
-- Parked fetches of runs that were deleted are named nowhere else.
local parked = flow .. ':parked'
for _, name in ipairs(redis.call('SPOP', parked, most)) do
  redis.call('UNLINK', parked .. ':' .. name:gsub(' ', ':'))
end
if redis.call('EXISTS', parked) == 1 then
  return 'more'
end
local redrives = base .. ':redrives:' .. webhook
for _, redrive in ipairs(redis.call('ZRANGE', redrives, 0, most - 1)) do
  drop_task(base, 'deliveries', redrive .. '.redrive')
  redis.call('UNLINK', base .. ':redrive:' .. redrive)
  redis.call('ZREM', redrives, redrive)
end
drop_lane(base, 'deliveries', webhook)
redis.call('UNLINK', outbox, flow, base .. ':health:' .. webhook, base .. ':released:' .. webhook,
  base .. ':pace:' .. webhook, base .. ':redriving:' .. webhook, attempts .. ':delivered', attempts .. ':failed')
redis.call('SREM', base .. ':parked', webhook)
return redis.call('EXISTS', redrives) == 1 and 'more' or 'done'
