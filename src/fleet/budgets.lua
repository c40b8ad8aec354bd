-- What one process has used of some budgets. Each process writes what it has used in all, so that a report that comes twice counts once.
--
-- KEYS  a hash for each budget and period: a field for each process (number of its last report, what it had used), `sum`, `epoch` (when
--       the hash was made), `floor` (what was restored after a loss of data, within the sum)
-- ARGV  1 process; then six for each key: number of the report, what the process has used, what of it was answered for, the sum that it
--       was told then, the epoch that it was told then (or nothing), milliseconds that the hash is kept
-- Gives for each key the sum and the epoch

-- What somebody else has written there counts for nothing.
local function number(text)
  local read = tonumber(text or '')
  return read and read == read and math.abs(read) < math.huge and read or 0
end

local time = redis.call('TIME')
local me, answer = ARGV[1], {}
for i, key in ipairs(KEYS) do
  local turn, used, before, known = unpack(ARGV, 6 * i - 4, 6 * i - 1)
  local heard, left = ARGV[6 * i], ARGV[6 * i + 1]
  turn, used, before, known = tonumber(turn), tonumber(used), tonumber(before), tonumber(known)
  local old = redis.call('HMGET', key, 'sum', 'epoch', 'floor', 'p:' .. me)
  local sum, floor = number(old[1]), number(old[3])
  local epoch = old[2] or string.format('%.0f', time[1] * 1000000 + time[2])
  local fields = {}
  local last, counted = string.match(old[4] or '', '^(%d+) (%S+)$')
  if not last then
    -- The data is lost that this process was told of: what it was told is the least that was used, and of its own only what has come
    -- since is new.
    if heard ~= '' and heard ~= epoch and known > floor then
      sum, floor = sum + known - floor, known
      fields = {'floor', string.format('%.17g', floor)}
    end
    counted = before
  end
  local news = used - number(counted)
  if news ~= 0 and (not last or turn > tonumber(last)) then
    sum = sum + news
    table.insert(fields, 'p:' .. me)
    table.insert(fields, string.format('%.0f %.17g', turn, used))
  end
  if #fields > 0 then
    redis.call('HSET', key, 'sum', string.format('%.17g', sum), 'epoch', epoch, unpack(fields))
    redis.call('PEXPIRE', key, left)
  end
  table.insert(answer, string.format('%.17g', sum))
  table.insert(answer, (old[2] or #fields > 0) and epoch or '')
end
return answer
