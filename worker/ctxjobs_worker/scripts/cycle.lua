-- cycle: the one round trip of a worker. Reports jobs that are done, starts a lease or gives leases back,
-- takes the next jobs.
--
-- ARGV[1], in MessagePack, an array:
--   1 worker     its name
--   2 owner      token of its process; whoever comes with another one has lost the name
--   3 seq        number of this request; the same number again is the same request, sent once more because
--                its answer got lost: nothing is done twice, and the answer is made again
--   4 now        as RQ writes it into hashes      5 now_float  the same, in seconds since the epoch, as text
--   6 lease_s    how long a job that starts counts as alive
--   7 worker_ttl how long the worker's hash is kept
--   8 done       outcomes, each an array:
--                  1 execution id  2 job id  3 queue  4 succeeded; what is recorded of 2 and 3 goes before
--                  5 fields of the job's hash  6 fields of the result, both flat
--                  7 seconds that the job is kept; -1: for ever
--                  8 seconds that the result is kept; -1: for ever; false: as it was
--                  9 what to add to now for its score in the registry; or the score itself, as text
--                 10 whether it had dependencies  11 seconds it ran
--                 12 keys of the index, its member there, seconds that it is kept there; or false
--   9 starts     execution id of the lease that starts now; or ''
--  10 back       execution ids of leases that go back to the heads of their queues, in order
--  11 queues     names, the most urgent first
--  12 take       how many jobs to take
--  13 prefix     of the execution ids of what is taken; four hexadecimal digits are added
--  14 at_once    whether the first job that is taken starts at once
--  15 rotate     whether one job is taken from each queue in turn
--  16 runs_on    whether something that the worker holds goes on running meanwhile
--  17 forget     execution ids of what was taken and is no job
--
-- Answers with an array:
--   1 flags      1: another process has taken the name; 2: workers are suspended; 4: it is not registered any more
--   2 taken      arrays of queue, job id, execution id, flat fields of the job's hash
--   3 slow       execution ids of done jobs that RQ's own code has to end: they are as they were
--   4 lost       execution ids of done or starting jobs that were not this worker's any more
--   5 dropped    job ids that were taken and are no jobs

local worker, owner, seq = request[1], request[2], request[3]
local now_text, now_float, lease_s, worker_ttl = request[4], request[5], request[6], request[7]
local done, starts, back = request[8], request[9], request[10]
local queues, take, prefix, at_once, rotate = request[11], request[12], request[13], request[14], request[15]
local runs_on, forget = request[16], request[17]

local record, leases = 'ctxjobs:worker:' .. worker, 'ctxjobs:leases:' .. worker
local worker_key = 'rq:worker:' .. worker
local flags, taken, slow, lost, dropped = 0, {}, {}, {}, {}

-- Largest bytes of data in one answer; what is larger comes alone.
local MAX_BYTES = 1048576

local known = call('HMGET', record, 'owner', 'seq')
if known[1] and known[1] ~= owner then return {1, {}, {}, {}, {}} end
local again = known[2] and tonumber(known[2]) >= seq

local function hash_of(job_id)
  local fields = redis.pcall('HGETALL', 'rq:job:' .. job_id)
  if fields.err or #fields == 0 then return nil end
  return fields
end

if again then
  for _, held in ipairs(held_by(worker)) do
    if string.sub(held[1], 1, #prefix) == prefix then
      taken[#taken + 1] = {held[4], held[3], held[1], hash_of(held[3]) or {}}
    end
  end
  for _, outcome in ipairs(done) do
    if call('HEXISTS', leases, outcome[1]) == 1 then slow[#slow + 1] = outcome[1] end
  end
  return {0, taken, slow, lost, dropped}
end

-- The first write is one that a Redis without memory refuses, so that it refuses all of them: in the middle
-- of a script nothing is taken back.
call('HSET', record, 'owner', owner, 'seq', seq)
call('EXPIRE', record, 86400)
if not known[2] then call('HSET', record, 'queues', cmsgpack.pack(queues)) end

-- done ---------------------------------------------------------------------------------------

local succeeded, failed, working_s, finished = 0, 0, 0, {}
-- What is added to sorted sets, by key: registries, and the index.
local registries, index = {}, {}

-- Numbers as text, each written once: many jobs are kept for equally long.
local texts = {}
local function text_of(number)
  local text = texts[number]
  if not text then
    text = string.format('%d', number)
    texts[number] = text
  end
  return text
end

local function add(sets, key, score, member)
  local members = sets[key]
  if not members then
    members = {}
    sets[key] = members
  end
  members[#members + 1] = score
  members[#members + 1] = member
end

local function finish(outcome, state, job_id, queue)
  local exec = outcome[1]
  local job = 'rq:job:' .. job_id
  if call('EXISTS', job) == 0 then
    slow[#slow + 1] = exec
    return
  end
  if state == 'S' then
    forget_execution(exec, job_id)
    -- A job that was cancelled while it ran is off the started jobs, too, and ends as any other, as in RQ.
    if call('ZREM', 'rq:wip:' .. queue, job_id .. ':' .. exec) == 0 and call('HGET', job, 'status') ~= 'canceled' then
      lost[#lost + 1] = exec
      finished[#finished + 1] = exec
      return
    end
  end
  call('HSET', job, unpack(outcome[5]))
  if outcome[13] then call('HDEL', job, REDELIVERED) end
  local result = 'rq:results:' .. job_id
  call('XADD', result, 'MAXLEN', '~', 10, '*', unpack(outcome[6]))
  if outcome[8] == -1 then
    call('PERSIST', result)
  elseif outcome[8] then
    call('EXPIRE', result, text_of(outcome[8]))
  end
  if outcome[7] > 0 then
    call('EXPIRE', job, text_of(outcome[7]))
    if outcome[10] then call('EXPIRE', 'rq:job::' .. job_id .. ':dependencies', outcome[7]) end
  end
  local score = type(outcome[9]) == 'string' and outcome[9] or text_of(now_s + outcome[9])
  add(registries, (outcome[4] and 'rq:finished:' or 'rq:failed:') .. queue, score, job_id)
  local entry = outcome[12]
  if entry then
    for _, key in ipairs(entry[1]) do add(index, key, text_of(now_s + entry[3]), entry[2]) end
  end
  finished[#finished + 1] = exec
  working_s = working_s + outcome[11]
  if outcome[4] then succeeded = succeeded + 1 else failed = failed + 1 end
end

if #done > 0 then
  local execs, dependents = {}, {}
  for i, outcome in ipairs(done) do
    execs[i] = outcome[1]
    dependents[i] = 'rq:job:' .. outcome[2] .. ':dependents'
  end
  local states = call('HMGET', leases, unpack(execs))
  local have_dependents = call('EXISTS', unpack(dependents)) > 0
  for i, outcome in ipairs(done) do
    -- Without a record it is this worker's all the same, if no sweep has taken it off the started jobs yet.
    local held = states[i] and cmsgpack.unpack(states[i]) or {'S', outcome[2], outcome[3]}
    local is_slow = have_dependents and call('EXISTS', dependents[i]) == 1
    if is_slow or not pcall(finish, outcome, held[1], held[2], held[3]) then slow[#slow + 1] = execs[i] end
  end
  if #finished > 0 then call('HDEL', leases, unpack(finished)) end
  for key, members in pairs(registries) do call('ZADD', key, unpack(members)) end
  for key, members in pairs(index) do
    call('ZADD', key, unpack(members))
    call('EXPIREAT', key, call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
  end
  if succeeded > 0 then call('HINCRBY', worker_key, 'successful_job_count', succeeded) end
  if failed > 0 then call('HINCRBY', worker_key, 'failed_job_count', failed) end
  if working_s > 0 then
    call('HINCRBYFLOAT', worker_key, 'total_working_time', string.format('%.6f', working_s))
  end
end

-- held ---------------------------------------------------------------------------------------

local current
if starts ~= '' then
  local held = call('HGET', leases, starts)
  local entry = held and cmsgpack.unpack(held)
  if entry then
    start(worker, starts, entry[2], entry[3], lease_s, now_text, now_float)
    current = entry[2]
  else
    lost[#lost + 1] = starts
  end
end

for i = #back, 1, -1 do
  local held = call('HGET', leases, back[i])
  if held then
    local entry = cmsgpack.unpack(held)
    put_back(entry[2], entry[3], false)
    call('HDEL', leases, back[i])
  end
end

for _, exec in ipairs(forget) do
  local held = call('HGET', leases, exec)
  if held then
    local entry = cmsgpack.unpack(held)
    call('ZREM', 'rq:wip:' .. entry[3], entry[2] .. ':' .. exec)
    forget_execution(exec, entry[2])
    call('HDEL', leases, exec)
  end
end

-- Who asks for more holds nothing besides. What stands here all the same was reported to a Redis that has lost
-- it since: a master whose replica was behind, a machine that went down. It runs again.
if take > 0 and not runs_on and call('HLEN', leases) > #slow then
  local known_of = {}
  for _, exec in ipairs(slow) do known_of[exec] = true end
  local held = held_by(worker)
  for i = #held, 1, -1 do
    local exec, state, job_id, queue = held[i][1], held[i][2], held[i][3], held[i][4]
    if not known_of[exec] then
      if state == 'S' then put_back_started(exec, job_id, queue, false) else put_back(job_id, queue, false) end
      call('HDEL', leases, exec)
    end
  end
end

-- take ---------------------------------------------------------------------------------------

local bytes, entries = 0, {}
-- What was popped from a queue and is not looked at yet: queue, job ids, how many of them were looked at.
local popped = {'', {}, 0}

-- Whether a job comes alone: it may expire in the queue, or its process may have ended because of it.
local function comes_alone(fields)
  local alone = false
  for i = 1, #fields, 2 do
    local field = fields[i]
    if field == 'data' then
      bytes = bytes + #fields[i + 1]
    elseif field == 'ttl' or field == REDELIVERED then
      alone = true
    end
  end
  return alone or bytes > MAX_BYTES
end

local function take_job(queue, job_id, fields)
  local exec = prefix .. string.format('%04x', #taken + (at_once and 0 or tonumber(AHEAD, 16)))
  taken[#taken + 1] = {queue, job_id, exec, fields}
  if at_once and #taken == 1 then
    start(worker, exec, job_id, queue, lease_s, now_text, now_float)
    current = job_id
  else
    entries[#entries + 1] = exec
    entries[#entries + 1] = cmsgpack.pack({'L', job_id, queue})
  end
end

-- Takes what was popped, until a job has to come alone; false if it came, or comes later.
local function take_popped()
  local queue, job_ids = popped[1], popped[2]
  while popped[3] < #job_ids do
    local job_id = job_ids[popped[3] + 1]
    local fields = hash_of(job_id)
    local alone = fields and comes_alone(fields)
    if alone and #taken > 0 then return false end
    popped[3] = popped[3] + 1
    if fields then
      take_job(queue, job_id, fields)
      if alone then return false end
    elseif call('TYPE', 'rq:job:' .. job_id).ok ~= 'none' then
      dropped[#dropped + 1] = job_id
    end
  end
  return true
end

-- Takes up to some jobs from a queue: whether there were any; and whether more may come.
local function take_from(queue, many)
  local taking, before = 'ctxjobs:taking:' .. queue .. ':' .. worker, #taken
  while #taken - before < many do
    local job_id = call('RPOP', taking)
    popped = {queue, job_id and {job_id} or call('LPOP', 'rq:queue:' .. queue, many - #taken + before) or {}, 0}
    if #popped[2] == 0 then break end
    if not take_popped() then return true, false end
  end
  return #taken > before, true
end

local function take_in_order()
  for _, queue in ipairs(queues) do
    local _, goes_on = take_from(queue, take - #taken)
    if not goes_on or #taken == take then return end
  end
end

local function take_in_turn()
  local left, i = #queues, 1
  while #taken < take and left > 0 do
    local found, goes_on = take_from(queues[i], 1)
    if not goes_on then return end
    left = found and #queues or left - 1
    i = i % #queues + 1
  end
end

if take > 0 then
  call('ZADD', 'ctxjobs:workers', now_s + lease_s, worker)
  if call('EXISTS', 'rq:suspended') == 1 then
    flags = flags + 2
    empty_taking(worker, queues)
  else
    -- A key of another type than RQ's ends the taking; what was taken until then is recorded all the same.
    local ok, problem = pcall(rotate and take_in_turn or take_in_order)
    for i = #popped[2], popped[3] + 1, -1 do call('LPUSH', 'rq:queue:' .. popped[1], popped[2][i]) end
    if #entries > 0 then call('HSET', leases, unpack(entries)) end
    -- What was moved for it from another queue, at the same time, is not to wait until it asks again.
    if #taken > 0 and #queues > 1 then empty_taking(worker, queues) end
    if not ok and #taken == 0 then return redis.error_reply(type(problem) == 'table' and problem.err or problem) end
  end
end

-- the worker, as RQ shows it -----------------------------------------------------------------

local life = call('HMGET', worker_key, 'birth', 'death')
if not life[1] or life[2] then flags = flags + 4 end
if current then
  call('HSET', worker_key, 'last_heartbeat', now_text, 'state', 'busy', 'current_job', current,
       'current_job_working_time', 0)
else
  local state = (runs_on or #taken > 0) and 'busy' or 'idle'
  call('HSET', worker_key, 'last_heartbeat', now_text, 'state', state)
  -- What a worker tells in the middle of a job is no reason to forget that it runs.
  if not runs_on or take > 0 then call('HDEL', worker_key, 'current_job') end
end
call('EXPIRE', worker_key, worker_ttl)

return {flags, taken, slow, lost, dropped}
