-- Accepting a run: its state, what it was started with, its place in the list, its first event and its first task; or, when
-- another run has its mutex key, its place among those that wait. Needs: clock, queue, timeline, mutex, flow, stream, index.
-- `fields`: field, value, … of the state; with `mutex` and `force` among them, if the run has a mutex key.
-- Returns true; false when a run of this id was accepted before; nil and a run that is active when too many wait for it.
-- Nothing is changed in the last two cases.
local function run_accept(base, run, environment, spec, lane_limit, fields, now)
  local run_key = base .. ':run:' .. run
  if redis.call('EXISTS', run_key) == 1 then
    return false
  end
  local given = {}
  for i = 1, #fields, 2 do
    given[fields[i]] = fields[i + 1]
  end
  local holder = given.mutex and not given.force and mutex_full(base, environment, given.mutex)
  if holder then
    return nil, holder
  end
  redis.call('HSET', run_key, 'status', 'created', 'created_at', now, 'environment', environment, unpack(fields))
  redis.call('SET', run_key .. ':spec', spec)
  local of_account = base .. ':account:' .. given.account
  redis.call('SADD', of_account .. ':run', run)
  redis.call('SADD', of_account .. ':webhook', given.webhook)
  local runs = base .. ':environment:' .. environment .. ':run'
  forget_expired(runs, base .. ':run:')
  redis.call('ZADD', runs, 0, run)
  redis.call('ZADD', base .. ':retention', 'NX', now, environment)
  note(base, run_key, 'created')
  if not given.mutex or mutex_enter(base, run, run_key, environment, given.mutex, given.force, lane_limit, now) then
    push_start(base, run, environment, lane_limit, now)
  end
  tell_run(base, run, run_key, 'sync_job_run:created', now)
  return true
end
