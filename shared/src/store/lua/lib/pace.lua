-- Requests spread evenly over time, by the generic cell rate algorithm. Needs: nothing.
-- Takes leave for one request now; else gives the time from which there is leave, ms. `key` is when the next request may be
-- made, in microseconds; `gap` from one to the next, `slack` of which may be made up for when they come late.
local function take_leave(key, gap, slack, now)
  local now_us = now * 1000
  local free_at = math.max(now_us, tonumber(redis.call('GET', key)) or 0)
  if free_at - slack > now_us then
    return math.ceil((free_at - slack) / 1000)
  end
  redis.call('SET', key, string.format('%.0f', free_at + gap), 'PX', math.ceil((free_at + gap - now_us) / 1000) + 1000)
  return nil
end
