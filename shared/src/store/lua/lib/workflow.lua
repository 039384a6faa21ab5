-- Events start workflows. Needs: queue. The task that sees to them is queued in the same script as the event, so that each
-- event is seen to once, and only where a workflow of the environment is triggered by it.

-- In-flight limit of an environment's lane in the queue `runs`, as `RUNS_LANE_LIMIT`.
local RUNS_AT_ONCE = 16

-- `payload`: JSON.
local function start_workflows(base, environment, event, event_type, payload, now)
  if redis.call('EXISTS', base .. ':environment:' .. environment .. ':workflow:trigger_name:' .. event_type) == 1 then
    local body = 'start_workflows.1 ' .. event_type .. ' ' .. now .. ' ' .. payload
    lane_push(base, 'runs', environment, environment, RUNS_AT_ONCE, { entry_of(event .. '.workflow', 0, 0, now, body) })
  end
end
