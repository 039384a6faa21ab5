-- Entries of the lanes' lists, and where they go. Needs: nothing.
-- Entry of a lane's list: `<id> <attempt> <rescues> <ready since, ms> <body>`.
-- The first fetches of runs (`roots`) that wait at the front of their account's lane stay before whatever runs go into more
-- deeply, so that a run begins though another one has much to do.

-- Most entries of one push: Lua's stack takes about 8,000 arguments.
local PUSH_CHUNK = 1000
-- Entries of a lane that are looked at for root fetches.
local MOST_ROOTS_AHEAD = 100

local function entry_of(id, attempt, rescues, since, body)
  return id .. ' ' .. attempt .. ' ' .. rescues .. ' ' .. since .. ' ' .. body
end

local function push_entries(ready, entries, command)
  for first = 1, #entries, PUSH_CHUNK do
    redis.call(command, ready, unpack(entries, first, math.min(first + PUSH_CHUNK - 1, #entries)))
  end
end

-- Root fetches that wait at the front of a lane; MOST_ROOTS_AHEAD: that many or more. Mostly there is none, so one entry is
-- read first: bodies may be large.
local function roots_ahead(base, lane)
  local from = 0
  for _, to in ipairs({ 1, 10, MOST_ROOTS_AHEAD }) do
    local entries = redis.call('LRANGE', base .. ':fetches:ready:' .. lane, from, to - 1)
    for i, entry in ipairs(entries) do
      local run, number = entry:match('^([^.]+)%.(%d+) ')
      local roots = run and tonumber(redis.call('HGET', base .. ':run:' .. run, 'roots'))
      if not roots or tonumber(number) > roots then
        return from + i - 1
      end
    end
    if #entries < to - from then
      return from + #entries
    end
    from = to
  end
  return from
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

-- Whether the fetch of this number follows from the first ones of its run. They are numbered from 1; those of a retry are
-- `retried`, and runs that older workers started have no `roots`.
local function follows(number, retried, roots)
  return tonumber(number) > (tonumber(retried or roots) or math.huge)
end

local function is_deep(base, entry)
  local run, number = entry:match('^([^.]+)%.(%d+) ')
  if not run then
    return false
  end
  return follows(number, unpack(redis.call('HMGET', base .. ':run:' .. run, 'retried', 'roots')))
end

-- Adds what comes back to its lane, since it waited or its worker is gone, to the front.
local function push_back(base, queue, lane, entries)
  local deep = {}
  for _, entry in ipairs(entries) do
    if queue == 'fetches' and is_deep(base, entry) then
      deep[#deep + 1] = entry
    else
      redis.call('LPUSH', base .. ':' .. queue .. ':ready:' .. lane, entry)
    end
  end
  if #deep > 0 then
    push_deep(base, lane, deep)
  end
end
