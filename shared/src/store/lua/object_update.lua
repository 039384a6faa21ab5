-- Replaces an object if it is still what the caller read, with what follows from the change.
-- KEYS 1 base, 2 the object
-- ARGV 1 its JSON as read, 2 its new JSON, 3 environment, 4… effects
-- Returns `updated`, `changed` (somebody else was faster: read again) or `missing`.
-- Invariants: no update is lost; effects happen once. Cost: O(size of the object), and what the effects cost.
local base, object = KEYS[1], KEYS[2]
local before, after = ARGV[1], ARGV[2]

local current = redis.call('GET', object)
if not current then
  return 'missing'
end
if current ~= before then
  return 'changed'
end
redis.call('SET', object, after)
apply_effects(base, ARGV[3], ARGV, 4, now_ms(base))
return 'updated'
