-- One request at all of its rate limits: it passes all of them and is counted in each, or in none.
--
-- KEYS  a key for each limit: the time at which it would be unused again (GCRA's theoretical arrival time), microseconds
-- ARGV  three for each: microseconds for one unit, units at once, units that this request costs (below zero: gives back);
--       then one for each: units that a gateway let pass while it could not ask here
-- Gives the first limit that refuses (0: none), the microseconds to wait, then for each limit the units left and the microseconds
--       until it is unused again

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local refuses, wait, answer = 0, 0, {}
local debts, mended = {}, {}
for i, key in ipairs(KEYS) do
  local unit, burst, cost = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  -- What is no number somebody else has written.
  local stored = tonumber(redis.call('GET', key) or '') or now
  if stored ~= stored then stored = now end
  -- Never more than a whole burst: a longer debt comes from a clock that was set, or from an earlier quota. It is written, so
  -- that it passes although the request is refused.
  local passed = tonumber(ARGV[3 * #KEYS + i] or 0)
  local debt = math.min(math.max(stored - now, 0) + unit * passed, unit * burst)
  local over = debt + unit * cost - unit * burst
  -- A microsecond of rounding is nobody's fault.
  if over > 1 then
    if refuses == 0 then refuses = i end
    wait = math.max(wait, over)
  end
  debts[i] = debt
  mended[i] = stored - now > debt or passed > 0
end
for i, key in ipairs(KEYS) do
  local unit, burst, cost = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local debt = debts[i]
  if refuses == 0 then
    debt = math.max(0, debt + unit * cost)
  end
  if refuses == 0 or mended[i] then
    redis.call('SET', key, string.format('%.0f', now + debt), 'PX', math.ceil(debt / 1000) + 1)
  end
  table.insert(answer, math.floor((unit * burst - debt) / unit + 0.000001))
  table.insert(answer, math.ceil(debt))
end
table.insert(answer, 1, math.ceil(wait))
table.insert(answer, 1, refuses)
return answer
