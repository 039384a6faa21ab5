-- Replaces an object if it is still what the caller read.
--
-- KEYS[1] the object
-- ARGV[1] its JSON as read   ARGV[2] its new JSON
-- Returns "updated", "changed" (somebody else was faster: read again) or "missing".
-- Invariants: no update is lost. Cost: O(size of the object).
local object = KEYS[1]
local before, after = ARGV[1], ARGV[2]

local current = redis.call('GET', object)
if not current then
  return 'missing'
end
if current ~= before then
  return 'changed'
end
redis.call('SET', object, after)
return 'updated'
