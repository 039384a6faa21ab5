-- Binds an idempotency key to a request, or says what became of the first one.
--
-- KEYS[1] base   KEYS[2] the reservation   KEYS[3] those of the environment (zset: key -> when it expires, ms)
-- ARGV[1] fingerprint of the request   ARGV[2] id for the object to be made   ARGV[3] owner (a random word)
-- ARGV[4] milliseconds the reservation is kept   ARGV[5] milliseconds the owner may work on it
-- Returns {"reserved", id}: the caller owns it and must use this id; {"taken_over", id}: so it does after an
-- earlier owner that died or didn't learn what it made, whose id this is; {"answered", sealed answer};
-- {"in_progress", milliseconds until it may be taken over}; {"reused"}: another request.
-- Invariants: one owner at a time; the id never changes. Cost: O(1).
local reservation = KEYS[2]
local fingerprint, id, owner = ARGV[1], ARGV[2], ARGV[3]
local keep_ms, work_ms = ARGV[4], tonumber(ARGV[5])

local now = now_ms(KEYS[1])
local seen = redis.call('HMGET', reservation, 'fingerprint', 'id', 'answer', 'until')
if seen[1] then
  if seen[1] ~= fingerprint then
    return {'reused'}
  end
  if seen[3] then
    return {'answered', seen[3]}
  end
  local rest = tonumber(seen[4] or '0') - now
  if rest > 0 then
    return {'in_progress', tostring(rest)}
  end
  id = seen[2]
end
local word = seen[1] and 'taken_over' or 'reserved'
redis.call('HSET', reservation, 'fingerprint', fingerprint, 'id', id, 'owner', owner, 'until', string.format('%.0f', now + work_ms))
if not seen[1] then
  redis.call('PEXPIRE', reservation, keep_ms)
  for _, expired in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 2)) do
    redis.call('ZREM', KEYS[3], expired)
  end
  redis.call('ZADD', KEYS[3], now + keep_ms, reservation)
  redis.call('PEXPIRE', KEYS[3], keep_ms)
end
return {word, id}
