-- Writes how far a workflow run is, as long as the lease of its task holds.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 environment, 4 workflow run, 5 workflow, 6 the workflow run as JSON, 7 ms that it is kept
-- Returns `ok` or `stale` (lease lost; nothing is written).
local base, id, kept = KEYS[1], ARGV[4], tonumber(ARGV[7])
if not held(base, 'runs', ARGV[1], ARGV[2]) then
  return 'stale'
end
redis.call('SET', base .. ':workflow_run:' .. id, ARGV[6], 'PX', kept)
for _, index in ipairs({ ':environment:' .. ARGV[3] .. ':workflow_run', ':workflow:' .. ARGV[5] .. ':run' }) do
  list_kept(base .. index, base .. ':workflow_run:', id, kept)
end
return 'ok'
