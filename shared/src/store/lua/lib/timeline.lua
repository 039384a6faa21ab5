-- What happened to a run and when: `run:<run>:timeline`, a list of `<ms> <what> <detail, JSON>`. Needs: clock.
-- The first entry, made at acceptance, makes the list; without it (the run is gone) nothing is noted.
-- It is bounded: past MOST_NOTED entries only those of the run's end are added, the others are counted.
local MOST_NOTED = 1000
-- Errors noted of one run; all are in its list of errors.
local MOST_ERRORS_NOTED = 10

local function note(base, run_key, what, detail, must)
  local timeline = run_key .. ':timeline'
  if not must and redis.call('LLEN', timeline) >= MOST_NOTED then
    redis.call('HINCRBY', run_key, 'timeline_dropped', 1)
    return
  end
  local entry = now_ms(base) .. ' ' .. what .. ' ' .. (detail and cjson.encode(detail) or '{}')
  redis.call(what == 'created' and 'RPUSH' or 'RPUSHX', timeline, entry)
end

local function note_error(base, run_key, code, message, resource)
  if redis.call('HINCRBY', run_key, 'errors_noted', 1) <= MOST_ERRORS_NOTED then
    note(base, run_key, 'error', { code = code, message = message, resource = resource })
  end
end
