-- Takes a trigger out of the schedule that was claimed, but is gone or switched off.
-- KEYS 1 base
-- ARGV 1 trigger, 2 due as it was claimed, 3 `1`: it is gone
-- Returns `dropped` or `stale`.
local base, id = KEYS[1], ARGV[1]
if redis.call('HGET', base .. ':cron:' .. id, 'due') ~= ARGV[2] then
  return 'stale'
end
if ARGV[3] == '1' then
  cron_forget(base, id)
else
  cron_unschedule(base, id)
end
return 'dropped'
