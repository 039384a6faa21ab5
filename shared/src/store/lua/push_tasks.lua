-- Adds ready tasks to one lane.
-- KEYS 1 base
-- ARGV 1 queue, 2 lane, 3 its environment, 4 in-flight limit of the lane, then for each task: id, body
-- Returns how many.
local base, queue = KEYS[1], ARGV[1]
local now, entries = now_ms(base), {}
for i = 5, #ARGV, 2 do
  entries[#entries + 1] = entry_of(ARGV[i], 0, 0, now, ARGV[i + 1])
end
lane_push(base, queue, ARGV[2], ARGV[3], ARGV[4], entries)
return #entries
