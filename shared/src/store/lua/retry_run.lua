-- Accepts a run that fetches again what failed in one that has ended, all or nothing.
-- KEYS 1 base
-- ARGV 1 run, 2 environment, 3 spec (JSON), 4 in-flight limit of the environment's lane, 5 the ended run, then field, value, …
--      of the state
-- Returns as create_run; or {`not_found`}, {`active`} (it has not ended), {`nothing`} (nothing failed), {`unfetched`, n} (it
-- was ended early and n fetches never ended, so that what failed isn't all that is missing), {`forgotten`, n} (n more
-- failed than are remembered). Nothing is changed then.
local base, run, fields = KEYS[1], ARGV[1], { unpack(ARGV, 6) }
local old_key, now = base .. ':run:' .. ARGV[5], now_ms(base)
if redis.call('EXISTS', base .. ':run:' .. run) == 1 then
  return { 'existed' }
end
local old = redis.call('HMGET', old_key, 'environment', 'terminal', 'deleted_at', 'unfetched', 'failed_dropped')
if old[1] ~= ARGV[2] or old[3] then
  return { 'not_found' }
end
if not old[2] then
  return { 'active' }
end
if old[4] then
  return { 'unfetched', old[4] }
end
if old[5] then
  return { 'forgotten', old[5] }
end
if redis.call('EXISTS', old_key .. ':failed') == 0 then
  return { 'nothing' }
end
local _, holder = run_accept(base, run, ARGV[2], ARGV[3], ARGV[4], fields, now)
if holder then
  return { 'full', holder }
end
redis.call('COPY', old_key .. ':failed', base .. ':run:' .. run .. ':retry')
redis.call('PERSIST', base .. ':run:' .. run .. ':retry')
return { 'created' }
