-- Sets `previous_run_date` of resources of a job for an account, all or nothing; a run's end moves them in one step too.
-- KEYS 1 base
-- ARGV 1 account, 2 job, then for each resource: its name, ms or empty (no date: the next run fetches everything)
local jobs = KEYS[1] .. ':watermark:' .. ARGV[1]
local key = jobs .. ':' .. ARGV[2]
for i = 3, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', key, ARGV[i])
  else
    redis.call('HSET', key, ARGV[i], ARGV[i + 1])
  end
end
if redis.call('EXISTS', key) == 1 then
  redis.call('SADD', jobs, ARGV[2])
end
return 'ok'
