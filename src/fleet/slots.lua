-- One gateway's update of one limiter: what it holds is registered anew, and free slots go to whoever has waited longest.
--
-- KEYS[1]  a hash: one field per gateway (`process.number`), `plan` (see PLAN), `clock` (when this ran last) and, for a while,
--          `grace` (no slot is handed out until then)
-- KEYS[2]  the hash in which all gateways of the fleet are registered, whatever they share
-- ARGV     1 gateway  2 number of the update  3 share it keeps  4 slots it uses  5 calls that wait  6 microseconds that the first has waited
--          7 slots of the plan, none from who leaves  8 lease, microseconds  9 size of the fleet that it last heard of  10 prefix of channels  11 leaving
--          12 slots that the provider grants as this gateway has learned since, or 0  13 the version of the fleet's own cap that this follows upon
-- Gives    accepted  share  contested  size of the fleet (0 in a grace)  rank in it  microseconds of grace left
--          slots that the provider grants as the fleet has learned (0: the plan)  their version  slots that others use
--
-- `share` is what a gateway may use; `used` may be more for a while, after its share shrank. A slot is free when it is in
-- neither. The numbers of updates only grow: one that comes late, from a connection given up long ago, changes nothing.
--
-- Everything is written before a grant is published: a backend that refuses to write (no memory, a replica) grants nothing. Only the
-- roll call, which grants nothing, comes before.

-- Slots of the plan; what the provider grants as the fleet has learned (0: the plan), and how often that changed; when this hash was
-- made; gateways that were asked to come by then.
local PLAN = {'max', 'learned', 'version', 'born', 'called'}
local FIELDS = {'share', 'used', 'waiting', 'since', 'expires', 'turn', 'told', 'known', 'joined', 'unheard'}
local me, turn, max, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[7]), tonumber(ARGV[8])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function read(text, names)
  local record, field = {}, 1
  for number in string.gmatch(text, '%d+') do
    if names[field] then record[names[field]] = tonumber(number) end
    field = field + 1
  end
  return record
end
local function written(record, names)
  local numbers = {}
  for i, name in ipairs(names) do numbers[i] = string.format('%.0f', record[name] or 0) end
  return table.concat(numbers, ' ')
end

local fleet, gone, clock, grace, plan = {}, {}, now, nil, {max = 0, learned = 0, version = 0, born = now, called = 0}
local stored = redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
  local name, text = stored[i], stored[i + 1]
  if name == 'clock' then
    clock = tonumber(text)
  elseif name == 'grace' then
    grace = tonumber(text)
  elseif name == 'plan' then
    for field, number in pairs(read(text, PLAN)) do plan[field] = number end
  else
    fleet[name] = read(text, FIELDS)
  end
end
if max > 0 then plan.max = max end

-- Somebody comes by at every third of a lease. If not, this clock was set, or nobody was there: no lease ran meanwhile.
local gap = now - clock
local jumped = gap < 0 or gap > lease / 2
-- Nobody was there for so long that all have decided alone: each uses its part of the plan, whatever is written here. Until everybody
-- has said what it uses, and for half a lease at most, nothing is handed out.
local away = gap > lease * 0.9 and next(fleet) ~= nil
if jumped then
  for _, gateway in pairs(fleet) do
    if away then gateway.unheard = 1 end
    gateway.expires = gateway.expires + gap
    if gateway.since > 0 then gateway.since = gateway.since + gap end
  end
  if grace then grace = grace + gap end
  if away then
    grace = math.max(grace or 0, now + lease / 2)
    if ARGV[11] ~= '1' then redis.call('PUBLISH', ARGV[10] .. '.all', KEYS[1]) end
  end
  plan.born = plan.born + gap
end

for name, gateway in pairs(fleet) do
  if gateway.expires <= now then
    fleet[name] = nil
    table.insert(gone, name)
  end
end

local own = fleet[me]
if own and turn <= own.turn then return {0, 0, 0, 0, 0, 0, 0, 0, 0} end
local comes = not own
local resized = #gone > 0 or comes or ARGV[11] == '1'

-- What one gateway learned of the provider's plan holds for all. What two learned at a time is the less of both.
local learned, base = tonumber(ARGV[12] or 0), tonumber(ARGV[13] or 0)
local known_cap = plan.learned > 0 and plan.learned or plan.max
if learned > 0 and (base == plan.version or learned < known_cap) and learned ~= known_cap then
  plan.learned, plan.version = learned < plan.max and learned or 0, plan.version + 1
  resized = true
end
max = plan.learned > 0 and math.min(plan.learned, plan.max) or plan.max

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

-- A limiter that nobody knows is new, or the backend has lost what it knew: then others may hold slots that are not written here
-- any more. A backend that has known the fleet for longer than a lease has lost nothing. Else everybody is asked to come by; and
-- nothing is handed out until as many are back as any of them remembers, or half a lease has passed. While nobody remembers
-- anything, only for a moment, until all that are connected have come; not at all when there is nobody else.
local SOON = math.min(lease / 2, 200000)
local function intact()
  local born = KEYS[2] and string.match(redis.call('HGET', KEYS[2], 'plan') or '', '^%d+ %d+ %d+ (%d+)')
  return born and now - tonumber(born) > lease
end
if #stored == 0 and ARGV[11] ~= '1' and (own.known > 1 or own.used > 0 or not intact()) then
  plan.called = redis.call('PUBLISH', ARGV[10] .. '.all', KEYS[1])
  if own.known > 0 then
    grace = now + lease / 2
  elseif plan.called > 1 then
    grace = now + SOON
  end
end
if grace then
  local came, returned, remembered, unheard = 0, 0, 0, 0
  for _, gateway in pairs(fleet) do
    came = came + 1
    if gateway.unheard == 1 then unheard = unheard + 1 end
    if gateway.known > 0 then returned = returned + 1 end
    remembered = math.max(remembered, gateway.known)
  end
  -- The first that remembers anything.
  if comes and own and own.known > 0 and returned == 1 then grace = math.max(grace, now + lease / 2) end
  local all = unheard == 0 and (remembered > 0 and returned >= remembered or remembered == 0 and plan.called > 0 and came >= plan.called)
  if all or now >= grace then grace = nil end
end

local size, shares, free, used = 0, 0, max, 0
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
  gateway.used = gateway.used + 1
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
  used = used + gateway.used
end
local function rank(name_of)
  local before = 0
  local one = fleet[name_of]
  for name, gateway in pairs(fleet) do
    if gateway.joined < one.joined or (gateway.joined == one.joined and name < name_of) then before = before + 1 end
  end
  return before
end
local messages = {}
for name, gateway in pairs(fleet) do
  local contested = (hungry - (gateway.waiting > 0 and 1 or 0)) > 0 and 1 or 0
  -- Told are those who got a slot, those who hold some that others now wait for, and all when the fleet has another size or has
  -- learned something. A message may get lost: every gateway comes by at a third of the lease anyway.
  local recalled = contested == 1 and gateway.told == 0 and gateway.share > 0
  if name == me then
    gateway.told = contested
  elseif changed[name] or recalled or resized then
    gateway.told, changed[name] = contested, gateway
    -- As long as gateways are missing nobody is told how many there are, lest it be remembered.
    local words = string.format('%.0f %.0f %d %d %d %d %d %d %s', gateway.turn, gateway.share, contested,
      grace and 0 or size, rank(name), plan.learned, plan.version, used - gateway.used, name)
    table.insert(messages, {ARGV[10] .. string.match(name, '^[^.]*'), words})
  end
end

local fields = {'clock', string.format('%.0f', now), 'plan', written(plan, PLAN)}
for name in pairs(jumped and fleet or changed) do
  if fleet[name] then
    table.insert(fields, name)
    table.insert(fields, written(fleet[name], FIELDS))
  end
end
if grace then
  table.insert(fields, 'grace')
  table.insert(fields, string.format('%.0f', grace))
else
  table.insert(gone, 'grace')
end
-- So many at once as a script may pass on.
for first = 1, #fields, 1000 do
  redis.call('HSET', KEYS[1], unpack(fields, first, math.min(first + 999, #fields)))
end
for _, name in ipairs(gone) do redis.call('HDEL', KEYS[1], name) end
redis.call('PEXPIRE', KEYS[1], math.ceil(4 * lease / 1000))
for _, message in ipairs(messages) do redis.call('PUBLISH', message[1], message[2]) end

if not fleet[me] then return {1, 0, 0, size, 0, 0, 0, 0, 0} end
return {1, own.share, own.told, grace and 0 or size, rank(me), grace and math.ceil(grace - now) or 0,
  plan.learned, plan.version, used - own.used}
