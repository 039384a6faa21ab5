-- Ends the work on an idempotency key, if the caller still owns it.
--
-- KEYS[1] the reservation
-- ARGV[1] owner   ARGV[2] "answer", "forget" or "hand_back"   ARGV[3] the sealed answer, for "answer"
--   answer: kept and replayed from now on
--   forget: nothing was made; the key is free for any request
--   hand_back: something may have been made; the same request may go on with the same id
-- Returns "settled" or "lost" (expired, or another owner took over).
-- Cost: O(1).
local reservation = KEYS[1]
local owner, how, answer = ARGV[1], ARGV[2], ARGV[3]

if redis.call('HGET', reservation, 'owner') ~= owner then
  return 'lost'
end
if how == 'answer' then
  redis.call('HSET', reservation, 'answer', answer)
  redis.call('HDEL', reservation, 'owner', 'until')
elseif how == 'forget' then
  redis.call('DEL', reservation)
else
  redis.call('HDEL', reservation, 'owner', 'until')
end
return 'settled'
