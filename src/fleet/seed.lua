-- The seed of the names under which a fleet counts. It is kept for good, and the oldest that anybody remembers holds: so after a loss
-- of data all keep the one that they have, whoever comes by first.
--
-- KEYS[1]  the seed: when it was made (microseconds), and random digits
-- KEYS[2]  the hash in which all gateways of the fleet are registered
-- ARGV     1 the seed that this gateway remembers, or nothing  2 digits for a new one  3 the channel to which all gateways listen
--          4 whether a new one is made although others are connected who may remember one
-- Gives    the seed; nothing where others have been asked for theirs

local function born(seed) return tonumber(string.match(seed or '', '^(%d+) %x+$')) end
local stored, mine = redis.call('GET', KEYS[1]) or '', ARGV[1]
local age = born(stored)
if not born(mine) then
  if age then return stored end
  if ARGV[4] == '0' and redis.call('PUBLISH', ARGV[3], KEYS[1]) > 1 then return false end
  local time = redis.call('TIME')
  mine = string.format('%.0f %s', time[1] * 1000000 + time[2], ARGV[2])
elseif age and (age < born(mine) or age == born(mine) and stored <= mine) then
  return stored
end
redis.call('SET', KEYS[1], mine)
-- Limiters go by other names now: who holds slots under the old ones is still to come, as after a loss of data.
redis.call('DEL', KEYS[2])
return mine
