-- Writes new jobs, puts them on their queue or schedule, enters them in the index: all of it, or nothing.
--
-- KEYS
--   rq:queues      set; gets the queue's key
--   rq:queue:<q>   the queue's key
--   rq:job:<id>    for each job, its hash
--   ...            what expires: the hash of a job with a ttl, and RQ's keys of its dependents and dependencies
--   where to       list rq:queue:<q> of what is due now, or sorted set rq:scheduled:<q> of what is due later
--   ...            the jobs' keys of the index, grouped by the jobs that are entered in them
-- ARGV; times are in seconds since the epoch
--   how            "unique": nothing happens if there is a hash under the id of the (one) job; else ""
--   doubt          1: this script may have been run before, with the same arguments
--   push           the command that puts jobs where they go: RPUSH, LPUSH or ZADD
--   jobs, expiring how many there are
--   over           the time before which entries of the index are over; "" to leave them for this time
--   now
--   for each job   how many arguments follow; names and values of its fields: the envelope, then others
--   for each expiring key   in how many seconds
--   count, ...     the arguments of push; 0 if the jobs go nowhere
--   for each group how many keys it has; until when the last of its entries is kept; how many arguments follow:
--                  for each of its jobs until when the entry is kept, and the member that it is
-- Reply
--   1: the jobs are enqueued. 0: the id of the unique one is taken.
--
-- A full Redis refuses a script at the first command that needs memory, unless the script has written before. So
-- the first that writes is HSET.
local call, unpack, tonumber = redis.call, unpack, tonumber
local how, doubt, push, jobs, expiring, over, now = unpack(ARGV, 1, 7)
local key, arg = 3, 8

if doubt == '1' and call('HGET', KEYS[key], ARGV[arg + 1]) == ARGV[arg + 2] then
  return 1 -- it was run: all of its jobs are written in one step, so one tells of all
end
if how == 'unique' and call('EXISTS', KEYS[key]) == 1 then
  return 0
end

for _ = 1, tonumber(jobs) do
  local last = arg + tonumber(ARGV[arg])
  -- What RQ writes even where it is empty; what the job has of these comes later, and wins.
  call('HSET', KEYS[key], 'success_callback_name', '', 'failure_callback_name', '', 'stopped_callback_name', '',
    'started_at', '', 'ended_at', '', 'last_heartbeat', '', 'worker_name', '', 'group_id', '',
    unpack(ARGV, arg + 1, last))
  key, arg = key + 1, last + 1
end
for _ = 1, tonumber(expiring) do
  call('EXPIRE', KEYS[key], ARGV[arg])
  key, arg = key + 1, arg + 1
end

call('SADD', KEYS[1], KEYS[2])
local last = arg + tonumber(ARGV[arg])
if last > arg then
  call(push, KEYS[key], unpack(ARGV, arg + 1, last))
end
key, arg = key + 1, last + 1

while arg < #ARGV do
  local keys, latest, last = tonumber(ARGV[arg]), ARGV[arg + 1], arg + 2 + tonumber(ARGV[arg + 2])
  for at = key, key + keys - 1 do
    if over ~= '' then
      call('ZREMRANGEBYSCORE', KEYS[at], '-inf', over)
    end
    call('ZADD', KEYS[at], unpack(ARGV, arg + 3, last))
    -- No command lets a key expire with its last member. A minute is less than the entries are kept too long.
    if call('TTL', KEYS[at]) + 60 < latest - now then
      call('EXPIREAT', KEYS[at], latest)
    end
  end
  key, arg = key + keys, last + 1
end
return 1
