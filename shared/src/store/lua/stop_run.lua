-- Stops a run: nothing more is fetched, what was committed is delivered, then the terminal event.
-- KEYS 1 base
-- ARGV 1 run, 2 environment
-- Returns `stopped`, `ended` (it had ended before; nothing changes) or `not_found`.
local base, run = KEYS[1], ARGV[1]
local run_key = base .. ':run:' .. run
local state = redis.call('HMGET', run_key, 'status', 'environment', 'deleted_at')
if not state[1] or state[2] ~= ARGV[2] or state[3] then
  return 'not_found'
end
if state[1] ~= 'created' and not run_active(state[1]) then
  return 'ended'
end
run_end(base, run, run_key, 'stopped', '', '', '', now_ms(base))
return 'stopped'
