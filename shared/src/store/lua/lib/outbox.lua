-- Events that belong to no run: of accounts, cron triggers and webhooks. Needs: clock, queue, flow, stream, workflow.
-- Every active webhook of the environment that subscribes gets a copy in its outbox, `outbox:<webhook>`: a hash with the
-- fields that a run has for its stream `c`, and that one stream. It is gone when all in it is settled.
-- A chunk is `<ms of the event> <payload as JSON>`.

-- Webhooks of one environment that are told, the newest ones.
local MOST_WEBHOOKS = 1000
-- Events that wait for one webhook; further ones are counted in `outbox_dropped` and not kept.
local MOST_WAITING = 10000

local function wants(webhook, event_type)
  if type(webhook) ~= 'table' or not webhook.is_active then
    return false
  end
  local types = webhook.event_types
  if type(types) ~= 'table' or #types == 0 then
    return true
  end
  for _, subscribed in ipairs(types) do
    if subscribed == event_type then
      return true
    end
  end
  return false
end

local function outbox_add(base, id, webhook, environment, event_type, chunk, retention_ms, now)
  local key = base .. ':outbox:' .. id
  if (tonumber(redis.call('HGET', key, 'chunks')) or 0) >= MOST_WAITING then
    redis.call('INCR', base .. ':outbox_dropped')
    return
  end
  redis.call('HSET', key, 'status', 'outbox', 'environment', environment, 'webhook', id, 'delivery_limit',
    webhook.delivery.concurrency, 'started_settled', 1, 'batch_records', 1, 'batch_bytes', 1, 'linger_ms', 0,
    'retention_ms', retention_ms)
  stream_push(base, id, key, id, 'c', event_type, 0, 0, chunk)
  stream_schedule(base, id, key, 'c', now)
end

-- Tells an event to the webhooks of an environment, and to its workflows. `payload`: JSON.
local function emit(base, environment, event, event_type, payload, retention_ms, now)
  local chunk = now .. ' ' .. payload
  for _, id in ipairs(redis.call('ZREVRANGE', base .. ':environment:' .. environment .. ':webhook', 0, MOST_WEBHOOKS - 1)) do
    local json = redis.call('GET', base .. ':object:webhook:' .. environment .. ':' .. id)
    local webhook = json and cjson.decode(json)
    if webhook and wants(webhook, event_type) then
      outbox_add(base, id, webhook, environment, event_type, chunk, retention_ms, now)
    end
  end
  start_workflows(base, environment, event, event_type, payload, now)
end
