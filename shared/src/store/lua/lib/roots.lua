-- The front of an account's lane of fetches. The first fetches of runs (`roots`) that wait there stay before all that runs
-- have queued since, so that a run begins though another one has much to do. Needs: queue.

-- Entries of a lane that are looked at for the first that is no root fetch.
local MOST_ROOTS_AHEAD = 100

-- Root fetches that wait at the front of a lane; MOST_ROOTS_AHEAD: that many or more.
local function roots_ahead(base, lane)
  local entries = redis.call('LRANGE', base .. ':fetches:ready:' .. lane, 0, MOST_ROOTS_AHEAD - 1)
  for i, entry in ipairs(entries) do
    local run, number = entry:match('^([^.]+)%.(%d+) ')
    local roots = run and tonumber(redis.call('HGET', base .. ':run:' .. run, 'roots'))
    if not roots or tonumber(number) > roots then
      return i - 1
    end
  end
  return #entries
end

-- Adds entries behind the first `ahead` ones of a lane, in their order; the lane isn't offered yet.
local function push_behind(base, lane, ahead, entries)
  local ready = base .. ':fetches:ready:' .. lane
  local first = ahead > 0 and redis.call('LPOP', ready, ahead) or {}
  -- What is pushed to the front last is the first.
  for _, list in ipairs({ entries, first }) do
    local backwards = {}
    for i = #list, 1, -1 do
      backwards[#backwards + 1] = list[i]
    end
    push_entries(ready, backwards, 'LPUSH')
  end
end

-- Adds entries of a run that has begun before all that waits but root fetches; before these too if they are many.
local function push_deep(base, lane, entries)
  local ahead = roots_ahead(base, lane)
  push_behind(base, lane, ahead < MOST_ROOTS_AHEAD and ahead or 0, entries)
end
