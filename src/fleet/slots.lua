-- One gateway's update of one limiter: what it holds is registered anew, and free slots go, among tenants, to the one that has had the
-- least for its weight, and then to whoever has waited longest.
--
-- KEYS[1]  a hash: one field per gateway (`process.number`), `plan` (see PLAN), `clock` (when this ran last) and, for a while,
--          `grace` (no slot is handed out until then); where there are tenants also one more field per gateway (`~process.number`)
--          for what its tenants hold and wait for, and `tenants` for what each has had
-- KEYS[2]  the hash in which all gateways of the fleet are registered, whatever they share
-- ARGV     1 gateway  2 number of the update  3 share it keeps  4 slots it uses  5 calls that wait  6 microseconds that the first has waited
--          7 slots of the plan, none from who leaves  8 lease, microseconds  9 size of the fleet that it last heard of  10 prefix of channels  11 leaving
--          12 slots that the provider grants as this gateway has learned since, or 0  13 the version of the fleet's own cap that this follows upon
--          14 its tenants, `name:held:waiting:microseconds that the first has waited:weight:reserve:most` and `;` each (most 0: no end)
--          15 microseconds that a call takes of late
--          16 17 which of how many limiters of its tenants' slots this is, from 0: each keeps its part of reserves
-- Gives    accepted  share  contested  size of the fleet (0 in a grace)  rank in it  microseconds of grace left
--          slots that the provider grants as the fleet has learned (0: the plan)  their version  slots that others use
--          slots in hand to be left for reserves, and `;name:held:held elsewhere` for each of its tenants
--
-- `share` is what a gateway may use; `used` may be more for a while, after its share shrank. A slot is free when it is in
-- neither. The numbers of updates only grow: one that comes late, from a connection given up long ago, changes nothing.
--
-- Everything is written before a grant is published: a backend that refuses to write (no memory, a replica) grants nothing. Only the
-- roll call, which grants nothing, comes before.

-- Slots of the plan; what the provider grants as the fleet has learned (0: the plan), and how often that changed; when this hash was
-- made; gateways that were asked to come by then.
local PLAN = {'max', 'learned', 'version', 'born', 'called'}
local FIELDS = {'share', 'used', 'waiting', 'since', 'expires', 'turn', 'told', 'known', 'joined', 'unheard', 'keep'}
local SHARES = {'held', 'waiting', 'since', 'weight', 'reserve', 'most'}
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

-- Names of tenants are hexadecimal, or `-` for whoever has none.
local function tenants_of(text)
  local all = {}
  for id, numbers in string.gmatch(text, '([%x-]+):([%d:]+);') do
    local one = read(numbers, SHARES)
    if one.most then all[id] = one end
  end
  return all
end
local function text_of(tenants)
  local text = {}
  for id, one in pairs(tenants) do
    table.insert(text, id .. ':' .. string.gsub(written(one, SHARES), ' ', ':') .. ';')
  end
  table.sort(text)
  return table.concat(text)
end

-- What the tenants of each gateway hold and wait for; what each tenant has had (slot time for its weight), and held since `clock`; the
-- level of whoever was served last, and what calls take.
local crowds, had, level, usual = {}, {}, 0, 1000000
local fleet, gone, clock, grace, plan = {}, {}, now, nil, {max = 0, learned = 0, version = 0, born = now, called = 0}
local stored, present = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #stored, 2 do
  local name, text = stored[i], stored[i + 1]
  present[name] = true
  if name == 'clock' then
    clock = tonumber(text) or now
  elseif name == 'grace' then
    grace = tonumber(text)
  elseif string.sub(name, 1, 1) == '~' then
    crowds[string.sub(name, 2)] = tenants_of(text)
  elseif name == 'tenants' then
    local numbers, rest = string.match(text, '^([%d ]+);(.*)$')
    level, usual = string.match(numbers or '', '(%d+) (%d+)')
    level, usual = tonumber(level or 0), tonumber(usual or 1000000)
    for id, service, held in string.gmatch(rest or '', '([%x-]+):(%d+):(%d+);') do
      had[id] = {service = tonumber(service), held = tonumber(held)}
    end
  elseif name == 'plan' then
    for field, number in pairs(read(text, PLAN)) do plan[field] = number end
  else
    -- A field that somebody else has written is no gateway.
    local gateway = read(text, FIELDS)
    if gateway.joined then fleet[name] = gateway end
  end
end
if max > 0 then plan.max = max end

-- Somebody comes by at every third of a lease. If not, this clock was set, or nobody was there: no lease ran meanwhile.
local gap = now - clock
local jumped = gap < 0 or gap > lease / 2
-- Nobody was there for so long that all have decided alone: each uses its part of the plan, whatever is written here. Until everybody
-- has said what it uses, and for half a lease at most, nothing is handed out. A clock that was set back does not tell how long it was.
local away = (gap < 0 or gap > lease * 0.9) and next(fleet) ~= nil
if jumped then
  for name, gateway in pairs(fleet) do
    if away then gateway.unheard = 1 end
    gateway.expires = gateway.expires + gap
    if gateway.since > 0 then gateway.since = gateway.since + gap end
    for _, one in pairs(crowds[name] or {}) do one.since = one.since + gap end
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
if own and turn <= own.turn then return {0, 0, 0, 0, 0, 0, 0, 0, 0, ''} end
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
  crowds[me] = tenants_of(ARGV[14] or '')
  for _, one in pairs(crowds[me]) do one.since = now - one.since end
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

-- What each tenant holds and waits for in all gateways. Where one of these says nothing of tenants, its calls are nobody's. Where none
-- does, nothing here is of tenants.
local totals, tenanted = {}, false
for name, list in pairs(crowds) do
  if not fleet[name] then
    crowds[name] = nil
    table.insert(gone, '~' .. name)
  elseif next(list) then
    tenanted = true
  end
end
for name, gateway in pairs(tenanted and fleet or {}) do
  local list = crowds[name] or {}
  if not next(list) then
    list = {['-'] = {held = gateway.used, waiting = gateway.waiting, since = gateway.since, weight = 1, reserve = 0, most = 0, nobody = true}}
    crowds[name] = list
  end
  for id, one in pairs(list) do
    local all = totals[id] or {held = 0, waiting = 0, weight = 1, reserve = 0, most = 0}
    totals[id] = all
    all.held, all.waiting = all.held + one.held, all.waiting + one.waiting
    -- While a reload goes through the fleet gateways may say different things: the most of each, and the least of what it may hold.
    all.weight, all.reserve = math.max(all.weight, one.weight), math.max(all.reserve, one.reserve)
    if one.most > 0 and (all.most == 0 or one.most < all.most) then all.most = one.most end
  end
end
-- What each has had since the last update. Who was away comes back at the level of whoever was served last.
if tenanted then
  local passed = jumped and 0 or gap
  for id, one in pairs(had) do
    local all = totals[id]
    one.service = one.service + one.held * passed / (all and all.weight or 1)
    if not all and one.service <= level then had[id] = nil end
  end
  local took = tonumber(ARGV[15] or 0)
  if took > 0 then usual = usual + (took - usual) / 8 end
end
for id, all in pairs(totals) do
  local one = had[id] or {service = level, held = 0}
  if one.held == 0 then one.service = math.max(one.service, level) end
  had[id], all.had = one, one
end
local part, parts = tonumber(ARGV[16] or 0), math.max(1, tonumber(ARGV[17] or 1))
local function kept()
  local sum = 0
  for _, all in pairs(totals) do
    local missing = math.max(0, all.reserve - all.held)
    sum = sum + math.floor(missing / parts) + (part < missing % parts and 1 or 0)
  end
  return sum
end
local function is_full(all) return all.most > 0 and all.held >= all.most end
-- The tenant of a gateway that is next there, and its rank: who is below its reserve, then who will have had least for its weight, then
-- who has waited longest.
local function next_at(name, reserves)
  if not tenanted then return '-', {1, 0, fleet[name].since, '-'} end
  local best, rank = nil, nil
  for id, one in pairs(crowds[name]) do
    local all = totals[id]
    local below = all.held < all.reserve
    if one.waiting > 0 and not is_full(all) and (below or free > reserves) then
      local own = {below and 0 or 1, math.floor(all.had.service + (all.held + 1) * usual / all.weight), one.since, id}
      if not rank or own[1] < rank[1] or own[1] == rank[1] and (own[2] < rank[2] or own[2] == rank[2] and
        (own[3] < rank[3] or own[3] == rank[3] and id < rank[4])) then
        best, rank = id, own
      end
    end
  end
  return best, rank
end

local changed = {[me] = own}
while free > 0 and not grace do
  local next_one, tenant, first, reserves = nil, nil, nil, kept()
  for name, gateway in pairs(fleet) do
    -- A gateway that got slots in the updates of others sends its own at once, if it lives: until then it gets no more.
    if gateway.waiting > 0 and (gateway.unheard == 0 or changed[name]) then
      local id, rank = next_at(name, reserves)
      if id and (not first or rank[1] < first[1] or rank[1] == first[1] and (rank[2] < first[2] or rank[2] == first[2] and
        (rank[3] < first[3] or rank[3] == first[3] and name < next_one))) then
        next_one, tenant, first = name, id, rank
      end
    end
  end
  if not next_one then break end
  local gateway = fleet[next_one]
  if tenanted then
    local one, all = crowds[next_one][tenant], totals[tenant]
    level = math.max(level, all.had.service)
    all.held, all.waiting = all.held + 1, all.waiting - 1
    one.held, one.waiting = one.held + 1, one.waiting - 1
    one.since = math.floor(now - (now - one.since) * one.waiting / (one.waiting + 1))
  end
  gateway.share = math.max(gateway.share, gateway.used) + 1
  gateway.used = gateway.used + 1
  gateway.waiting = gateway.waiting - 1
  if next_one ~= me then gateway.unheard = 1 end
  -- Until it says more: those who wait behind the first are taken to have come at equal distances.
  gateway.since = math.floor(now - (now - gateway.since) * gateway.waiting / (gateway.waiting + 1))
  changed[next_one] = gateway
  free = free - 1
end

-- Who waits only because its tenant holds all that it may hold calls nobody's slots back.
local function is_hungry(name)
  if fleet[name].waiting > 0 then
    if not tenanted then return 1 end
    for id, one in pairs(crowds[name]) do
      if one.waiting > 0 and not is_full(totals[id]) then return 1 end
    end
  end
  return 0
end
local hungry = 0
for name, gateway in pairs(fleet) do
  hungry = hungry + is_hungry(name)
  used = used + gateway.used
end
-- Of the slots that gateways have in hand so many are to be left for those whose reserve they are.
local keep = math.max(0, kept() - math.max(0, free))
local function crowd_of(name)
  if not tenanted then return '0' end
  local text = {}
  for id, one in pairs(crowds[name]) do
    if not one.nobody then
      table.insert(text, string.format(';%s:%d:%d', id, one.held, totals[id].held - one.held))
    end
  end
  table.sort(text)
  return string.format('%d', keep) .. table.concat(text)
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
  local contested = (hungry - is_hungry(name)) > 0 and 1 or 0
  -- Told are those who got a slot, those who hold some that others now wait for, and all when the fleet has another size or has
  -- learned something. A message may get lost: every gateway comes by at a third of the lease anyway.
  local recalled = contested == 1 and gateway.told == 0 and gateway.share > 0
  local reserved = keep > (gateway.keep or 0) and gateway.share > gateway.used
  if name == me then
    gateway.told, gateway.keep = contested, keep
  elseif changed[name] or recalled or resized or reserved then
    gateway.told, gateway.keep, changed[name] = contested, keep, gateway
    -- As long as gateways are missing nobody is told how many there are, lest it be remembered.
    local words = string.format('%.0f %.0f %d %d %d %d %d %d %s %s', gateway.turn, gateway.share, contested,
      grace and 0 or size, rank(name), plan.learned, plan.version, used - gateway.used, name, crowd_of(name))
    table.insert(messages, {ARGV[10] .. string.match(name, '^[^.]*'), words})
  end
end

local fields = {'clock', string.format('%.0f', now), 'plan', written(plan, PLAN)}
for name in pairs(jumped and fleet or changed) do
  if fleet[name] then
    table.insert(fields, name)
    table.insert(fields, written(fleet[name], FIELDS))
    local list = crowds[name]
    if tenanted and not (list['-'] and list['-'].nobody) then
      table.insert(fields, '~' .. name)
      table.insert(fields, text_of(list))
    elseif present['~' .. name] then
      table.insert(gone, '~' .. name)
    end
  end
end
if tenanted then
  local text = {}
  for id, one in pairs(had) do
    local all = totals[id]
    if all or one.service > level then
      table.insert(text, string.format('%s:%.0f:%d;', id, one.service, all and all.held or 0))
    end
  end
  table.insert(fields, 'tenants')
  table.sort(text)
  table.insert(fields, string.format('%.0f %.0f;', level, usual) .. table.concat(text))
elseif present.tenants then
  table.insert(gone, 'tenants')
end
if grace then
  table.insert(fields, 'grace')
  table.insert(fields, string.format('%.0f', grace))
elseif present.grace then
  table.insert(gone, 'grace')
end
-- So many at once as a script may pass on.
for first = 1, #fields, 1000 do
  redis.call('HSET', KEYS[1], unpack(fields, first, math.min(first + 999, #fields)))
end
for _, name in ipairs(gone) do redis.call('HDEL', KEYS[1], name) end
redis.call('PEXPIRE', KEYS[1], math.ceil(4 * lease / 1000))
for _, message in ipairs(messages) do redis.call('PUBLISH', message[1], message[2]) end

if not fleet[me] then return {1, 0, 0, size, 0, 0, 0, 0, 0, ''} end
return {1, own.share, own.told, grace and 0 or size, rank(me), grace and math.ceil(grace - now) or 0,
  plan.learned, plan.version, used - own.used, crowd_of(me)}
