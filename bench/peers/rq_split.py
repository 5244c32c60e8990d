"""Where RQ's time per job goes: fork, Redis round trips, redis-py, RQ itself.

Run with the Python of the rq environment:  venv-rq/bin/python rq_split.py [jobs] [repeats]

Nothing samples and nothing traces: a few calls are wrapped and timed with a monotonic
clock (about 0.2 us each). Sums live in shared memory, so that forked children add to them;
parent and child never run at the same time.
"""

import json
import mmap
import os
import statistics
import struct
import sys
import threading
import time
import types

os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
import run as harness

NAMES = [
    "sys",
    "sys_n",
    "redis",
    "redis_n",
    "perform",
    "child_sys",
    "child_redis",
    "child_redis_n",
    "child_sys_n",
    "fork_ret",
    "fork_to_child",
    "child_life",
    "exit_to_reap",
    "forks",
    "connects",
]
SUM = mmap.mmap(-1, 4096)
AT = {n: i * 8 for i, n in enumerate(NAMES)}
MARK = {"fork": 2048, "exit": 2056, "born": 2064}
clock = time.monotonic
in_child = False
depth = 0
MAIN = threading.get_ident()


def add(name, x):
    o = AT[name]
    struct.pack_into("d", SUM, o, struct.unpack_from("d", SUM, o)[0] + x)


def get(name):
    return struct.unpack_from("d", SUM, AT[name])[0]


def mark(name, x=None):
    if x is None:
        return struct.unpack_from("d", SUM, MARK[name])[0]
    struct.pack_into("d", SUM, MARK[name], x)


def main_thread():
    """RQ's subscription thread waits on its own socket; that is not part of a job."""
    return threading.get_ident() == MAIN


def syscall(t0):
    if main_thread():
        add("child_sys" if in_child else "sys", clock() - t0)


class Sock:
    """A socket that times the calls which wait for the server."""

    def __init__(self, sock):
        self.__dict__["sock"] = sock

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def sendall(self, data):
        t0 = clock()
        try:
            return self.sock.sendall(data)
        finally:
            syscall(t0)
            if main_thread():
                add("child_sys_n" if in_child else "sys_n", 1)

    def recv_into(self, *a):
        t0 = clock()
        try:
            return self.sock.recv_into(*a)
        finally:
            syscall(t0)


def outermost(cls, name):
    real = getattr(cls, name)

    def timed(self, *a, **k):
        global depth
        if depth or not main_thread():
            return real(self, *a, **k)
        depth = 1
        t0 = clock()
        try:
            return real(self, *a, **k)
        finally:
            depth = 0
            add("child_redis" if in_child else "redis", clock() - t0)
            add("child_redis_n" if in_child else "redis_n", 1)

    setattr(cls, name, timed)


def instrument():
    import redis.client
    import redis.connection
    from rq.worker import Worker

    real_connect = redis.connection.Connection._connect

    def connect(self):
        add("connects", 1)
        return Sock(real_connect(self))

    redis.connection.Connection._connect = connect
    outermost(redis.client.Redis, "execute_command")
    outermost(redis.client.Pipeline, "execute_command")
    outermost(redis.client.Pipeline, "execute")

    base = Worker.__mro__[1]
    real_perform = base.perform_job

    def perform(self, job, queue):
        t0 = clock()
        try:
            return real_perform(self, job, queue)
        finally:
            add("perform", clock() - t0)

    base.perform_job = perform

    real = types.SimpleNamespace(fork=os.fork, exit=os._exit, wait4=os.wait4)

    def fork():
        global in_child
        mark("fork", clock())
        pid = real.fork()
        now = clock()
        if pid == 0:
            in_child = True
            add("fork_to_child", now - mark("fork"))
            mark("born", now)
        else:
            add("fork_ret", now - mark("fork"))
            add("forks", 1)
        return pid

    def leave(code):
        now = clock()
        add("child_life", now - mark("born"))
        mark("exit", now)
        real.exit(code)

    def wait4(*a):
        out = real.wait4(*a)
        add("exit_to_reap", clock() - mark("exit"))
        return out

    os.fork, os._exit, os.wait4 = fork, leave, wait4


def one(kind, jobs, wrapped):
    """Runs in a process of its own; prints one line of JSON."""
    import common
    import peer_rq
    from redis import Redis
    from rq import Queue, SimpleWorker, Worker

    peer_rq.connect()
    for i in range(jobs):
        peer_rq.enqueue(i)
    if wrapped:
        instrument()
    conn = Redis(host=common.HOST, port=common.PORT)
    q = Queue(common.QUEUE, connection=conn)
    w = (SimpleWorker if kind == "simple" else Worker)([q], connection=conn)
    got = {}
    real = w.dequeue_job_and_maintain_ttl
    calls = 0

    def dequeue(*a, **k):
        nonlocal calls
        calls += 1
        if calls == 21:
            for n in NAMES:
                struct.pack_into("d", SUM, AT[n], 0.0)
            got["a"] = clock(), os.times()
        elif calls == jobs:
            got["b"] = clock(), os.times(), {n: get(n) for n in NAMES}
        return real(*a, **k)

    w.dequeue_job_and_maintain_ttl = dequeue
    w.work(burst=True, max_jobs=jobs)
    n = jobs - 21
    (t0, c0), (t1, c1, sums) = got["a"], got["b"]
    out = {k: v / n * (1 if k.endswith("_n") or k in ("forks", "connects") else 1e6) for k, v in sums.items()}
    out["wall"] = (t1 - t0) / n * 1e6
    out["cpu"] = sum(b - a for a, b in zip(c0[:4], c1[:4])) / n * 1e6
    sys.stdout.write("\n@@" + json.dumps(out) + "\n")


def fork_floor(load, n=200):
    """os.fork + os._exit + waitpid, with and without RQ in memory."""
    if load:
        import redis  # noqa: F401
        import rq  # noqa: F401
    xs = []
    for _ in range(n):
        t0 = clock()
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        xs.append((clock() - t0) * 1e6)
    sys.stdout.write("\n@@" + json.dumps({"us": statistics.median(xs)}) + "\n")


def child(redis, *args):
    import subprocess

    env = dict(os.environ, BENCH_PORT=str(redis.port), BENCH_LOG="/dev/null", PYTHONPATH=str(harness.HERE))
    proc = subprocess.run(
        [sys.executable, __file__, *map(str, args)],
        cwd=harness.HERE,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    for line in proc.stdout.splitlines():
        if line.startswith("@@"):
            return json.loads(line[2:])
    raise SystemExit(proc.stderr[-2000:])


def main():
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 420
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    all_cpus = os.sched_getaffinity(0)
    out = {}
    for cores in ("all cores", "one core"):
        os.sched_setaffinity(0, all_cpus if cores == "all cores" else {max(all_cpus)})
        for what in (("simple", 0), ("simple", 1), ("fork", 0), ("fork", 1), ("floor", 0), ("floor", 1)):
            got = []
            for _ in range(repeats):
                redis = harness.Redis(range(6390, 6400))
                try:
                    got.append(
                        child(redis, "--floor", what[1])
                        if what[0] == "floor"
                        else child(redis, "--one", what[0], jobs, what[1])
                    )
                finally:
                    redis.stop()
            out["%s %s %d" % (cores, *what)] = {k: statistics.median(g[k] for g in got) for k in got[0]}
    os.sched_setaffinity(0, all_cpus)
    for cores in ("all cores", "one core"):
        s, f = out[cores + " simple 1"], out[cores + " fork 1"]
        print("\n## %s, us per job (medians of %d runs of %d jobs)\n" % (cores, repeats, jobs - 21))
        print("| part | SimpleWorker | Worker (fork) |\n|---|---:|---:|")
        rows = [
            ("wall, not wrapped", out[cores + " simple 0"]["wall"], out[cores + " fork 0"]["wall"]),
            ("wall, wrapped", s["wall"], f["wall"]),
            ("CPU of the worker and its children", s["cpu"], f["cpu"]),
            ("parent: waiting in send/recv", s["sys"], f["sys"]),
            ("parent: redis-py around that", s["redis"] - s["sys"], f["redis"] - f["sys"]),
            ("child: waiting in send/recv", 0, f["child_sys"]),
            ("child: redis-py around that", 0, f["child_redis"] - f["child_sys"]),
            ("fork call to child's first line", 0, f["fork_to_child"]),
            ("child's exit to parent's wait4 return", 0, f["exit_to_reap"]),
            ("child: RQ itself", 0, f["child_life"] - f["child_redis"]),
            (
                "parent: RQ itself",
                s["wall"] - s["redis"],
                f["wall"] - f["redis"] - f["fork_to_child"] - f["child_life"] - f["exit_to_reap"],
            ),
            ("(perform_job in all)", s["perform"], f["perform"]),
        ]
        for name, a, b in rows:
            print("| %s | %.0f | %.0f |" % (name, a, b))
        print("| (sends: parent, child) | %.1f | %.1f, %.1f |" % (s["sys_n"], f["sys_n"], f["child_sys_n"]))
        print("| (new connections) | %.2f | %.2f |" % (s["connects"], f["connects"]))
        print(
            "\nfork + _exit + waitpid of a bare interpreter %.0f us, with rq imported %.0f us"
            % (out[cores + " floor 0"]["us"], out[cores + " floor 1"]["us"])
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    elif sys.argv[1:2] == ["--floor"]:
        fork_floor(int(sys.argv[2]))
    else:
        main()
