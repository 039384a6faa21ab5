-- Runs of an environment with the same mutex key, one at a time. Needs: clock, queue, timeline.
-- `mutex:<environment>:<key>`: set of the runs that are active: the one that holds it, and those that were forced past it.
-- `mutex_waiting:<environment>:<key>`: list of the runs that wait for it, the next one first; they have no task yet.
-- A run leaves in the script that ends it, and the next one gets its first task there, so that none can be forgotten.
-- Nobody waits for a key that nobody holds.

-- Runs that wait for one key.
local MOST_WAITING_RUNS = 100

local function mutex_keys(base, environment, key)
  return base .. ':mutex:' .. environment .. ':' .. key, base .. ':mutex_waiting:' .. environment .. ':' .. key
end

-- The first task of a run.
local function push_start(base, run, environment, lane_limit, now)
  lane_push(base, 'runs', environment, environment, lane_limit, { entry_of(run .. '.start', 0, 0, now, 'start_run.1') })
end

-- One of the runs for which a new one with this key would have to wait though too many wait already; else nil.
local function mutex_full(base, environment, key)
  local active, waiting = mutex_keys(base, environment, key)
  if redis.call('LLEN', waiting) < MOST_WAITING_RUNS then
    return nil
  end
  return redis.call('SRANDMEMBER', active)
end

-- A run that was just accepted: true when it may start now, false when it waits.
local function mutex_enter(base, run, run_key, environment, key, force, lane_limit, now)
  local active, waiting = mutex_keys(base, environment, key)
  if force or redis.call('EXISTS', active) == 0 then
    redis.call('SADD', active, run)
    return true
  end
  redis.call('RPUSH', waiting, run)
  redis.call('HSET', run_key, 'waiting', now, 'start_limit', lane_limit)
  note(base, run_key, 'waiting_for_mutex', { mutex_key = key, sync_job_run_id = redis.call('SRANDMEMBER', active) })
  return false
end

-- A run that needs the mutex no more, or waits for it no more. Twice does nothing the second time.
local function mutex_leave(base, run, run_key, now)
  local state = redis.call('HMGET', run_key, 'mutex', 'environment', 'waiting')
  if not state[1] then
    return
  end
  local active, waiting = mutex_keys(base, state[2], state[1])
  if state[3] then
    redis.call('LREM', waiting, 0, run)
    redis.call('HDEL', run_key, 'waiting', 'start_limit')
    return
  end
  if redis.call('SREM', active, run) == 0 or redis.call('EXISTS', active) == 1 then
    return
  end
  local next_run = redis.call('LPOP', waiting)
  if not next_run then
    return
  end
  local next_key = base .. ':run:' .. next_run
  local lane_limit = redis.call('HGET', next_key, 'start_limit')
  redis.call('HDEL', next_key, 'waiting', 'start_limit')
  redis.call('SADD', active, next_run)
  note(base, next_key, 'mutex_free', { mutex_key = state[1] })
  push_start(base, next_run, state[2], lane_limit, now)
end
