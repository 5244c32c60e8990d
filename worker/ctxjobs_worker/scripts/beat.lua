-- beat: a sign of life of workers, and of the jobs that they have started.
--
-- ARGV[1], in MessagePack, an array:
--   1 workers     names
--   2 now         as RQ writes it into hashes      3 now_float  in seconds since the epoch, as text
--   4 lease_s     how long all of them count as alive without another one
--   5 worker_ttl  how long the workers' hashes are kept
--
-- Answers with the names of those whose hash in RQ was gone.

local workers, now_text, now_float, lease_s, worker_ttl = request[1], request[2], request[3], request[4], request[5]
local gone = {}

local function beat_job(exec, job_id, queue)
  local member = job_id .. ':' .. exec
  -- An entry that a sweep has removed does not come back.
  if not call('ZSCORE', 'rq:wip:' .. queue, member) then return end
  call('ZADD', 'rq:wip:' .. queue, 'XX', now_s + lease_s, member)
  call('HSET', 'rq:execution:' .. member, 'last_heartbeat', now_float)
  call('EXPIRE', 'rq:execution:' .. member, lease_s)
  call('ZADD', 'rq:executions:' .. job_id, now_s + lease_s + 60, exec)
  call('EXPIRE', 'rq:executions:' .. job_id, lease_s + 60)
  if call('EXISTS', 'rq:job:' .. job_id) == 1 then
    call('HSET', 'rq:job:' .. job_id, 'last_heartbeat', now_text)
  end
end

for _, worker in ipairs(workers) do
  local key = 'rq:worker:' .. worker
  call('ZADD', 'ctxjobs:workers', now_s + lease_s, worker)
  if call('EXISTS', key) == 0 then gone[#gone + 1] = worker end
  call('HSET', key, 'last_heartbeat', now_text)
  call('EXPIRE', key, worker_ttl)
  if call('EXISTS', 'ctxjobs:worker:' .. worker) == 1 then call('EXPIRE', 'ctxjobs:worker:' .. worker, 86400) end
  for _, held in ipairs(held_by(worker)) do
    if held[2] == 'S' then beat_job(held[1], held[3], held[4]) end
  end
end
return gone
