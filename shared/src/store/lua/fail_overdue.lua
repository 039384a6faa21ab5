-- Fails runs that last longer than they may.
-- KEYS 1 base
-- ARGV 1 most at once
-- Returns the runs that were failed. Called twice it does nothing the second time.
local base, now, failed = KEYS[1], now_ms(KEYS[1]), {}
for _, run in ipairs(redis.call('ZRANGEBYSCORE', base .. ':deadlines', '-inf', now, 'LIMIT', 0, ARGV[1])) do
  redis.call('ZREM', base .. ':deadlines', run)
  local run_key = base .. ':run:' .. run
  local state = redis.call('HMGET', run_key, 'status', 'max_duration_ms')
  if run_active(state[1]) then
    local message = 'the run lasted longer than its max_duration_minutes, ' .. math.floor(state[2] / 60000)
    run_end(base, run, run_key, 'failed', 'max_duration_exceeded', message, '', now)
    failed[#failed + 1] = run
  end
end
return failed
