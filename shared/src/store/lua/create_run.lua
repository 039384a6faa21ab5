-- Accepts a run, all or nothing.
-- KEYS 1 base
-- ARGV 1 run, 2 environment, 3 spec (JSON), 4 in-flight limit of the environment's lane, then field, value, … of the state
-- Returns `created`, or `existed` when a run of this id was accepted before (nothing is changed then).
local base, fields = KEYS[1], { unpack(ARGV, 5) }
local made = run_accept(base, ARGV[1], ARGV[2], ARGV[3], ARGV[4], fields, now_ms(base))
return made and 'created' or 'existed'
