-- release: what a worker holds goes back to the heads of its queues, all or in part.
--
-- ARGV[1], in MessagePack, an array:
--   1 worker       its name
--   2 how          'settle': its running job turned out long; what was taken with it, after it, goes back
--                  'leave':  it ends in order and runs nothing; everything goes back
--                  'stop':   its process was ended by the operator; everything goes back, the running job, too
--                  'died':   its process is gone; everything goes back but the running job
--                  'expire': it gave no sign of life any more; everything goes back that had not started
--   3 running      execution id of the job that it runs, or ran; or ''
--   4 queues       names of its queues; for 'expire' those that it has recorded
--   5 now          as RQ writes it into hashes      6 now_float  in seconds since the epoch, as text
--   7 lease_s      how long the running job counts as alive
--   8 last_look_s  when a worker that is gone is looked at once more
--   9 owner        token of its process, which another one may have the name of; for 'expire' it is not asked
--
-- Answers with an array: job id and queue of the running job, if it counts as started now; else empty.
--
-- What BLMOVE had begun for a process that is gone may be carried out after this, until its own time is over.
-- So the worker stays in ctxjobs:workers a little longer, and is looked at once more ('expire').

local worker, how, running, queues = request[1], request[2], request[3], request[4]
local now_text, now_float, lease_s, last_look_s = request[5], request[6], request[7], request[8]
local leases, worker_key = 'ctxjobs:leases:' .. worker, 'rq:worker:' .. worker

-- What stands under the name belongs to another process: this one had it in vain.
local owner = call('HGET', 'ctxjobs:worker:' .. worker, 'owner')
if how ~= 'expire' and owner and owner ~= request[9] then return {} end

if how == 'expire' then
  local alive_until = tonumber(call('ZSCORE', 'ctxjobs:workers', worker) or 0)
  if alive_until > now_s then return {} end
  local recorded = call('HGET', 'ctxjobs:worker:' .. worker, 'queues')
  queues = recorded and cmsgpack.unpack(recorded) or queues
end

-- The first write is one that a Redis without memory refuses, before anything is done.
call('HSET', 'ctxjobs:worker:' .. worker, 'released', how)

-- Whether a lease was in hand, or asked for ahead, when the running job was. If this comes late, the worker may
-- have taken more since, and be running it.
local function was_in_hand(exec)
  local seq, running_seq = tonumber(string.sub(exec, -16, -5), 16), tonumber(string.sub(running, -16, -5), 16)
  if seq == running_seq then return exec > running end
  return seq == running_seq + 1 and string.sub(exec, -4) >= AHEAD
end

local gone = how == 'died' or how == 'expire'
local started = {}
local held = held_by(worker)
for i = #held, 1, -1 do
  local exec, state, job_id, queue = held[i][1], held[i][2], held[i][3], held[i][4]
  if exec == running and how ~= 'stop' then
    if state == 'L' then start(worker, exec, job_id, queue, lease_s, now_text, now_float) end
    started = {job_id, queue}
  elseif how == 'settle' then
    if state == 'L' and was_in_hand(exec) then
      put_back(job_id, queue, false)
      call('HDEL', leases, exec)
    end
  elseif state == 'S' then
    -- Of a worker that gave no sign of life, the registry of started jobs decides what becomes of them.
    if how ~= 'expire' then put_back_started(exec, job_id, queue, gone) end
    call('HDEL', leases, exec)
  else
    put_back(job_id, queue, gone)
    call('HDEL', leases, exec)
  end
end
empty_taking(worker, queues)

if how == 'settle' then
  if started[1] then
    call('HSET', worker_key, 'state', 'busy', 'current_job', started[1], 'current_job_working_time', 0)
  end
  return started
end

if how == 'leave' or how == 'expire' then
  call('DEL', 'ctxjobs:worker:' .. worker, leases)
  call('ZREM', 'ctxjobs:workers', worker)
else
  call('ZADD', 'ctxjobs:workers', now_s + last_look_s, worker)
end
if how ~= 'leave' then
  call('SREM', 'rq:workers', worker_key)
  for _, queue in ipairs(queues) do call('SREM', 'rq:workers:' .. queue, worker_key) end
  if call('EXISTS', worker_key) == 1 then
    call('HSET', worker_key, 'death', now_text)
    call('HDEL', worker_key, 'current_job')
    call('EXPIRE', worker_key, 60)
  end
end
return started
