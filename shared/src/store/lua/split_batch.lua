-- The batch at the head of a stream is too large for the receiver: smaller ones are frozen in its place, and smaller ones are
-- formed from then on. A batch of one chunk is split by the caller, who can read chunks.
-- KEYS 1 base
-- ARGV 1 task (with nothing else in flight), 2 token, 3 run, 4 stream, 5 event, 6 bytes of a batch from now on, 7 requests a second
--      (0: any number), 8 number of event ids for the smaller batches, then these (as many as there are chunks suffice), then,
--      if the batch is one chunk, for each part of it: records, bytes
-- Returns as take_batch.
-- Invariants: records and their order stay what they are; a batch that is undone was never accepted.
local MOST_FROZEN = 16
local base, id, run, n, most_bytes = KEYS[1], ARGV[1], ARGV[3], ARGV[4], tonumber(ARGV[6])
local task = held(base, 'deliveries', id, ARGV[2])
local run_key, now = source_key(base, run), now_ms(base)
local batches = task and read_batches(run_key, n)
local whole = task and batches[1]
if not whole or whole.event ~= ARGV[5] or whole.settled then
  return { 'stale' }
end
if tonumber(redis.call('HGET', run_key, 's' .. n .. ':most_bytes')) ~= most_bytes then
  -- The receiver has just refused more; a batch that is known to be too large for it says nothing new.
  redis.call('HSET', run_key, 's' .. n .. ':most_bytes', most_bytes)
  redis.call('HDEL', run_key, 's' .. n .. ':taken')
end
local index, stream, chunks, parts_at = run_key .. ':index:' .. n, run_key .. ':stream:' .. n, whole.chunks, 9 + ARGV[8]
if #ARGV > parts_at then
  local gate = redis.call('LPOP', index):match('%d+$')
  redis.call('LPOP', stream)
  local bytes = 0 - whole.bytes
  for at = #ARGV - 1, parts_at, -2 do
    redis.call('LPUSH', index, whole.event_type .. ' ' .. ARGV[at] .. ' ' .. #ARGV[at + 1] .. ' ' .. gate)
    redis.call('LPUSH', stream, ARGV[at + 1])
    bytes = bytes + #ARGV[at + 1]
  end
  chunks = (#ARGV + 1 - parts_at) / 2
  redis.call('HINCRBY', run_key, 'chunks', chunks - 1)
  flow_add(base, run_key, n, task.lane, bytes, 0)
end
local smaller, first = {}, whole.first
for _, text in ipairs(redis.call('LRANGE', index, 0, chunks - 1)) do
  local records, bytes = text:match('^%S+ (%d+) (%d+)')
  local b = smaller[#smaller]
  if #batches == 1 and #smaller == MOST_FROZEN and b.bytes + bytes > most_bytes then
    -- The rest is formed when its turn comes.
    break
  end
  if not b or b.bytes + bytes > most_bytes then
    b = {
      event = ARGV[9 + #smaller], created = now, chunks = 0, event_type = whole.event_type, first = first, records = 0, bytes = 0,
      attempts = 0, failed_at = 0,
    }
    smaller[#smaller + 1] = b
  end
  b.chunks, b.records, b.bytes, first = b.chunks + 1, b.records + records, b.bytes + bytes, first + records
end
for i = 2, #batches do
  smaller[#smaller + 1] = batches[i]
end
keep_batches(run_key, n, smaller)
if paced(base, task.lane, id, task, tonumber(ARGV[7]), false, now) then
  return batch_reply(base, run_key, task.lane, n, smaller, smaller[1], now)
end
return { 'none' }
