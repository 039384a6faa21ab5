-- Accepts a run: its state, what it was started with, its place in the list, and its first task, all or nothing.
-- KEYS 1 base
-- ARGV 1 run, 2 environment, 3 spec (JSON), 4 in-flight limit of the environment's lane, then field, value, … of the state
-- Returns `created`, or `existed` when a run of this id was accepted before (nothing is changed then).
local base, run, environment = KEYS[1], ARGV[1], ARGV[2]
local run_key, now = base .. ':run:' .. run, now_ms(base)
if redis.call('EXISTS', run_key) == 1 then
  return 'existed'
end
redis.call('HSET', run_key, 'status', 'created', 'created_at', now, 'environment', environment, unpack(ARGV, 5))
redis.call('SET', run_key .. ':spec', ARGV[3])
local runs = base .. ':environment:' .. environment .. ':run'
forget_expired(runs, base .. ':run:')
redis.call('ZADD', runs, 0, run)
lane_push(base, 'runs', environment, ARGV[4], { entry_of(run .. '.start', 0, 0, now, 'start_run.1') }, false)
return 'created'
