-- The batch in flight is too large for the receiver: it is undone, and a smaller one is formed from the same records, as
-- are all after it in this stream. A batch of one chunk is split by the caller, who can read chunks.
-- KEYS 1 base
-- ARGV 1 task, 2 token, 3 run, 4 stream, 5 event, 6 event id for the smaller batch, 7 bytes of a batch from now on,
--      8 requests a second (0: any number), then, if the batch is one chunk, for each part of it: records, bytes
-- Returns as take_batch.
-- Invariants: records and their order stay what they are; a batch that is undone was never accepted.
local base, id, run, n = KEYS[1], ARGV[1], ARGV[3], ARGV[4]
local task = held(base, 'deliveries', id, ARGV[2])
local run_key, now = source_key(base, run), now_ms(base)
local frozen = task and redis.call('HGET', run_key, 's' .. n .. ':batch')
local batch = frozen and parse_batch(frozen)
if not batch or batch.event ~= ARGV[5] then
  return { 'stale' }
end
redis.call('HSET', run_key, 's' .. n .. ':most_bytes', ARGV[7])
if #ARGV > 8 then
  local index, stream = run_key .. ':index:' .. n, run_key .. ':stream:' .. n
  local gate = redis.call('LPOP', index):match('%d+$')
  redis.call('LPOP', stream)
  local bytes = 0 - batch.bytes
  for at = #ARGV - 1, 9, -2 do
    redis.call('LPUSH', index, batch.event_type .. ' ' .. ARGV[at] .. ' ' .. #ARGV[at + 1] .. ' ' .. gate)
    redis.call('LPUSH', stream, ARGV[at + 1])
    bytes = bytes + #ARGV[at + 1]
  end
  redis.call('HINCRBY', run_key, 'chunks', (#ARGV - 8) / 2 - 1)
  flow_add(base, run_key, n, task.lane, bytes, 0)
end
local smaller = form_batch(run_key, n, ARGV[6], now, false)
if paced(base, task.lane, id, task, tonumber(ARGV[8]), now) then
  return batch_reply(run_key, n, smaller, now)
end
return { 'none' }
