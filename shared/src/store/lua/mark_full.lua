-- Marks Redis as nearly full for a while, or takes the mark away. A script, since it may run in a full Redis.
-- KEYS 1 base
-- ARGV 1 ms that the mark holds; 0: none
-- Returns 1 when the mark is set.
local key, ms = KEYS[1] .. ':full', tonumber(ARGV[1])
if ms == 0 then
  redis.call('DEL', key)
  return 0
end
redis.call('SET', key, 1, 'PX', ms)
return 1
