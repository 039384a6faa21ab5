-- Accepting a run: its state, what it was started with, its place in the list, and its first task. Needs: clock, queue,
-- index. `fields`: field, value, … of the state. False when a run of this id was accepted before; nothing is changed then.
local function run_accept(base, run, environment, spec, lane_limit, fields, now)
  local run_key = base .. ':run:' .. run
  if redis.call('EXISTS', run_key) == 1 then
    return false
  end
  redis.call('HSET', run_key, 'status', 'created', 'created_at', now, 'environment', environment, unpack(fields))
  redis.call('SET', run_key .. ':spec', spec)
  redis.call('SADD', base .. ':account:' .. redis.call('HGET', run_key, 'account') .. ':run', run)
  local runs = base .. ':environment:' .. environment .. ':run'
  forget_expired(runs, base .. ':run:')
  redis.call('ZADD', runs, 0, run)
  lane_push(base, 'runs', environment, lane_limit, { entry_of(run .. '.start', 0, 0, now, 'start_run.1') }, false)
  return true
end
