-- Makes an environment, unless its name is taken.
--
-- KEYS[1] environment by name (hash: name -> JSON)
-- ARGV[1] name   ARGV[2] JSON
-- Returns {"created"} or {"taken", JSON of the holder}. Cost: O(1).
local holder = redis.call('HGET', KEYS[1], ARGV[1])
if holder then
  return {'taken', holder}
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return {'created'}
