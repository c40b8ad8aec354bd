-- One gateway's update of one limiter: what it holds is registered anew, and free slots go to whoever has waited longest.
--
-- KEYS[1]  a hash: one field per gateway (`process.number`), `plan` (its slots), `clock` (when this ran last) and, for a while,
--          `grace` (no slot is handed out until then)
-- ARGV     1 gateway  2 number of the update  3 share it keeps  4 slots it uses  5 calls that wait  6 microseconds that the first has waited
--          7 slots of the plan, none from who leaves  8 lease, microseconds  9 size of the fleet that it last heard of  10 prefix of channels  11 leaving
-- Gives    accepted  share  contested  size of the fleet (0 in a grace)  rank in it  microseconds of grace left
--
-- `share` is what a gateway may use; `used` may be more for a while, after its share shrank. A slot is free when it is in
-- neither. The numbers of updates only grow: one that comes late, from a connection given up long ago, changes nothing.

local FIELDS = {'share', 'used', 'waiting', 'since', 'expires', 'turn', 'told', 'known', 'joined', 'unheard'}
local me, turn, max, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[7]), tonumber(ARGV[8])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local fleet, gone, clock, grace = {}, {}, now, nil
local stored = redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
  local name, text = stored[i], stored[i + 1]
  if name == 'clock' then
    clock = tonumber(text)
  elseif name == 'grace' then
    grace = tonumber(text)
  elseif name == 'plan' then
    max = max > 0 and max or tonumber(text)
  else
    local gateway, field = {}, 1
    for number in string.gmatch(text, '%d+') do
      gateway[FIELDS[field]] = tonumber(number)
      field = field + 1
    end
    fleet[name] = gateway
  end
end

-- Somebody comes by at every third of a lease. If not, this clock was set, or nobody was there: no lease ran meanwhile.
local gap = now - clock
local jumped = gap < 0 or gap > lease / 2
if jumped then
  for _, gateway in pairs(fleet) do
    gateway.expires = gateway.expires + gap
    if gateway.since > 0 then gateway.since = gateway.since + gap end
  end
  if grace then grace = grace + gap end
end

for name, gateway in pairs(fleet) do
  if gateway.expires <= now then
    fleet[name] = nil
    table.insert(gone, name)
  end
end

local own = fleet[me]
if own and turn <= own.turn then return {0, 0, 0, 0, 0, 0} end
local resized = #gone > 0 or not own or ARGV[11] == '1'
if ARGV[11] == '1' then
  fleet[me] = nil
  table.insert(gone, me)
else
  if not own then own = {told = 0, joined = now} end
  own.unheard = 0
  own.share, own.used, own.waiting = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
  own.since = own.waiting > 0 and now - tonumber(ARGV[6]) or 0
  own.expires, own.turn, own.known = now + lease, turn, tonumber(ARGV[9])
  fleet[me] = own
end

-- Whoever starts with nothing may have lost everything: others may hold slots that are not written here any more. They come
-- by within a third of a lease, and it is over sooner when as many have come back as any of them remembers.
if #stored == 0 then grace = now + lease / 2 end
if grace then
  local returned, remembered = 0, 0
  for _, gateway in pairs(fleet) do
    if gateway.known > 0 then returned = returned + 1 end
    remembered = math.max(remembered, gateway.known)
  end
  if now >= grace or (remembered > 0 and returned >= remembered) then grace = nil end
end

local size, shares, free = 0, 0, max
for _, gateway in pairs(fleet) do
  size = size + 1
  shares = shares + gateway.share
  free = free - math.max(gateway.share, gateway.used)
end
-- More is out than there is, after a partition or with a smaller plan: whoever comes by gives up what is too much.
if fleet[me] and shares > max then own.share = math.max(0, own.share - (shares - max)) end

local changed = {[me] = own}
while free > 0 and not grace do
  local next_one = nil
  for name, gateway in pairs(fleet) do
    -- A gateway that got slots in the updates of others sends its own at once, if it lives: until then it gets no more.
    if gateway.waiting > 0 and (gateway.unheard == 0 or changed[name]) then
      local first = next_one and fleet[next_one]
      if not first or gateway.since < first.since or (gateway.since == first.since and name < next_one) then
        next_one = name
      end
    end
  end
  if not next_one then break end
  local gateway = fleet[next_one]
  gateway.share = math.max(gateway.share, gateway.used) + 1
  gateway.waiting = gateway.waiting - 1
  if next_one ~= me then gateway.unheard = 1 end
  -- Until it says more: those who wait behind the first are taken to have come at equal distances.
  gateway.since = math.floor(now - (now - gateway.since) * gateway.waiting / (gateway.waiting + 1))
  changed[next_one] = gateway
  free = free - 1
end

local hungry = 0
for _, gateway in pairs(fleet) do
  if gateway.waiting > 0 then hungry = hungry + 1 end
end
local function rank(name_of)
  local before = 0
  local one = fleet[name_of]
  for name, gateway in pairs(fleet) do
    if gateway.joined < one.joined or (gateway.joined == one.joined and name < name_of) then before = before + 1 end
  end
  return before
end
for name, gateway in pairs(fleet) do
  local contested = (hungry - (gateway.waiting > 0 and 1 or 0)) > 0 and 1 or 0
  -- Told are those who got a slot, those who hold some that others now wait for, and all when the fleet has another size. A
  -- message may get lost: every gateway comes by at a third of the lease anyway.
  local recalled = contested == 1 and gateway.told == 0 and gateway.share > 0
  if name == me then
    gateway.told = contested
  elseif changed[name] or recalled or resized then
    gateway.told, changed[name] = contested, gateway
    -- As long as gateways are missing nobody is told how many there are, lest it be remembered.
    local words = string.format(
      '%.0f %.0f %d %d %d %s', gateway.turn, gateway.share, contested, grace and 0 or size, rank(name), name)
    redis.call('PUBLISH', ARGV[10] .. string.match(name, '^[^.]*'), words)
  end
end

for name in pairs(jumped and fleet or changed) do
  if fleet[name] then
    local numbers = {}
    for i, field in ipairs(FIELDS) do numbers[i] = string.format('%.0f', fleet[name][field]) end
    redis.call('HSET', KEYS[1], name, table.concat(numbers, ' '))
  end
end
for _, name in ipairs(gone) do redis.call('HDEL', KEYS[1], name) end
redis.call('HSET', KEYS[1], 'clock', string.format('%.0f', now), 'plan', max)
if grace then
  redis.call('HSET', KEYS[1], 'grace', string.format('%.0f', grace))
else
  redis.call('HDEL', KEYS[1], 'grace')
end
redis.call('PEXPIRE', KEYS[1], math.ceil(4 * lease / 1000))

if not fleet[me] then return {1, 0, 0, size, 0, 0} end
return {1, own.share, own.told, grace and 0 or size, rank(me), grace and math.ceil(grace - now) or 0}
