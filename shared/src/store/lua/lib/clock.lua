-- Redis's own clock, the one clock of all leases and timers, in milliseconds.
-- Tests move it by the key `clock_shift`.
local function now_ms(base)
  local time = redis.call('TIME')
  local shift = redis.call('GET', base .. ':clock_shift')
  return time[1] * 1000 + math.floor(time[2] / 1000) + (shift or 0)
end
