-- What the worker's scripts share: RQ's keys, and how a job starts, ends, and goes back to its queue.
-- Put in front of each of them before it is sent. Keys are built here, from names: Redis Cluster is not
-- supported, as in RQ. All times of registries are Redis' own, so no worker's clock decides about a lease.
--
-- Ours (ctxjobs/keys.py has their types, lifetimes and writers):
--   ctxjobs:worker:<worker>          hash: owner, seq, queues
--   ctxjobs:leases:<worker>          hash: execution id -> MessagePack {state, job id, queue};
--                                    state is 'L' for a lease and 'S' for a started job
--   ctxjobs:taking:<queue>:<worker>  list: at most one job id, which BLMOVE has put there
--   ctxjobs:workers                  sorted set: worker -> until when it counts as alive
-- RQ's: rq:queue:<queue>, rq:job:<id> with :dependents, rq:wip:<queue>, rq:execution:<id>:<execution id>,
--   rq:executions:<id>, rq:results:<id>, rq:finished:<queue>, rq:failed:<queue>, rq:worker:<worker>,
--   rq:workers, rq:workers:<queue>, rq:suspended

local call = redis.call
local request = cmsgpack.unpack(ARGV[1])
local time = call('TIME')
local now_s = tonumber(time[1])

-- Field of a job's hash, ours: how often the job went back because its process was gone. Such a job is taken
-- alone, and so counts as started at once: if it was the one that ended the process, the next end is its own.
local REDELIVERED = 'ctxjobs_redelivered'

-- The last four digits of the execution ids of what was asked for ahead, while others were still to run, begin
-- with this.
local AHEAD = '8000'

local function start(worker, exec, job_id, queue, lease_s, now_text, now_float)
  call('HSET', 'ctxjobs:leases:' .. worker, exec, cmsgpack.pack({'S', job_id, queue}))
  local job, member = 'rq:job:' .. job_id, job_id .. ':' .. exec
  local execution, executions = 'rq:execution:' .. member, 'rq:executions:' .. job_id
  call('HSET', job, 'status', 'started', 'started_at', now_text, 'last_heartbeat', now_text,
       'worker_name', worker)
  call('PERSIST', job)
  call('ZADD', 'rq:wip:' .. queue, now_s + lease_s, member)
  call('HSET', execution, 'id', exec, 'created_at', now_float, 'last_heartbeat', now_float,
       'worker_name', worker)
  call('EXPIRE', execution, lease_s)
  call('ZADD', executions, now_s + lease_s + 60, exec)
  call('EXPIRE', executions, lease_s + 60)
end

local function forget_execution(exec, job_id)
  call('DEL', 'rq:execution:' .. job_id .. ':' .. exec)
  call('ZREM', 'rq:executions:' .. job_id, exec)
end

-- Puts a job that was taken back to the head of its queue. Its hash may be gone: then there is nothing to do.
local function put_back(job_id, queue, redelivered)
  local job = 'rq:job:' .. job_id
  if call('EXISTS', job) == 0 then return end
  if redelivered then call('HINCRBY', job, REDELIVERED, 1) end
  call('LPUSH', 'rq:queue:' .. queue, job_id)
end

-- The same for a job that had started: it is as if it had never been taken.
local function put_back_started(exec, job_id, queue, redelivered)
  call('ZREM', 'rq:wip:' .. queue, job_id .. ':' .. exec)
  forget_execution(exec, job_id)
  local job = 'rq:job:' .. job_id
  if call('EXISTS', job) == 0 then return end
  call('HSET', job, 'status', 'queued', 'started_at', '', 'last_heartbeat', '', 'worker_name', '')
  local ttl = tonumber(call('HGET', job, 'ttl') or 0)
  if ttl and ttl > 0 then call('EXPIRE', job, ttl) end
  put_back(job_id, queue, redelivered)
end

-- Puts back what BLMOVE has taken for a worker.
local function empty_taking(worker, queues)
  for _, queue in ipairs(queues) do
    local taking = 'ctxjobs:taking:' .. queue .. ':' .. worker
    local job_id = call('RPOP', taking)
    while job_id do
      put_back(job_id, queue, false)
      job_id = call('RPOP', taking)
    end
  end
end

-- What a worker holds, in the order in which it was taken: arrays of execution id, state, job id, queue.
local function held_by(worker)
  local flat, held = call('HGETALL', 'ctxjobs:leases:' .. worker), {}
  for i = 1, #flat, 2 do
    local entry = cmsgpack.unpack(flat[i + 1])
    held[#held + 1] = {flat[i], entry[1], entry[2], entry[3]}
  end
  table.sort(held, function(a, b) return a[1] < b[1] end)
  return held
end
