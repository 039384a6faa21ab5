-- Accepts a run, all or nothing.
-- KEYS 1 base
-- ARGV 1 run, 2 environment, 3 spec (JSON), 4 in-flight limit of the environment's lane, then field, value, … of the state
-- Returns {`created`}, {`existed`} when a run of this id was accepted before, or {`full`, an active run of the same mutex
-- key} when too many wait for that already (nothing is changed then).
local base, fields = KEYS[1], { unpack(ARGV, 5) }
local made, holder = run_accept(base, ARGV[1], ARGV[2], ARGV[3], ARGV[4], fields, now_ms(base))
if holder then
  return { 'full', holder }
end
return { made and 'created' or 'existed' }
