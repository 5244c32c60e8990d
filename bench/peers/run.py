#!/usr/bin/env python3
"""Measures background-job systems on one machine, one after the other.

  run.py                                  every peer, every workload
  run.py --peers rq,saq --workloads w2    those
  run.py --variants rq-fork,saq-w1        only these set-ups
  run.py --list

Every sample gets a fresh redis-server (no persistence) on a free loopback port, a fresh
producer and a fresh worker. Repetitions are the outer loop, so a slow minute of the
machine touches every peer. Only the standard library is needed here; peers live in the
environments that setup.sh makes.

w0  redis-benchmark: what the server itself does
w1  enqueue: jobs a second from one producer, one at a time, and by the peer's bulk call
w2  drain: jobs already queued; (n - 1) / (last job's start - first job's start)
w3  latency: idle worker, one job every 20 ms; enqueue call to job start
w4  memory: PSS of the worker's process tree after one job, idle
w5  Redis commands and reads (round trips) per enqueue and per job run
w6  w2 again with producer, worker and Redis on one core
"""

import argparse
import ctypes
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
HOME = pathlib.Path(os.environ.get("PEERS_HOME", "/tmp/peers"))
TICK = os.sysconf("SC_CLK_TCK")
RECORD = struct.Struct("<dq")
DISTURBED = 0.15  # cores used by others above which a sample is taken again, and left out of medians
WORKLOADS = ["w0", "w1", "w2", "w3", "w4", "w5", "w6"]


class Failed(Exception):
    pass


# --- Redis ------------------------------------------------------------------------------


class Resp:
    """Just enough of the Redis protocol to ask the server about itself."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.buf = self.sock.makefile("rb")

    def __call__(self, *cmd):
        parts = [str(c).encode() for c in cmd]
        msg = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)
        self.sock.sendall(msg)
        line = self.buf.readline().rstrip()
        if line[:1] == b"$":
            body = self.buf.read(int(line[1:]) + 2)
            return body[:-2].decode()
        return line[1:].decode()

    def info(self):
        out = {}
        for line in self("INFO", "everything").splitlines():
            key, _, val = line.partition(":")
            out[key] = val
        return out

    def close(self):
        self.buf.close()
        self.sock.close()


class Redis:
    def __init__(self, ports):
        self.dir = tempfile.mkdtemp(prefix="peers-redis-")
        for port in ports:
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    s.bind(("127.0.0.1", port))
                except OSError:
                    continue
            self.proc = subprocess.Popen(
                [
                    "redis-server",
                    "--port",
                    str(port),
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                    "--daemonize",
                    "no",
                    "--dir",
                    self.dir,
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
            )
            for _ in range(200):
                if self.proc.poll() is not None:
                    break
                try:
                    self.ask = Resp(port)
                    if self.ask("PING") == "PONG":
                        self.port = port
                        return
                except OSError:
                    time.sleep(0.02)
            end(self.proc)
        raise Failed("no redis-server could be started on ports %s" % ports)

    def stop(self):
        self.ask.close()
        end(self.proc)
        shutil.rmtree(self.dir, ignore_errors=True)


# --- processes --------------------------------------------------------------------------


def stats():
    """pid -> (parent, cpu seconds with reaped children, start time)."""
    out = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                text = pathlib.Path("/proc", name, "stat").read_text()
            except OSError:
                continue
            f = text.rpartition(")")[2].split()
            out[int(name)] = (int(f[1]), sum(map(int, f[11:15])) / TICK, f[0])
    return out


def tree(root, table=None):
    table = table or stats()
    kids = {}
    for pid, (ppid, _, _) in table.items():
        kids.setdefault(ppid, []).append(pid)
    out, todo = [], [root]
    while todo:
        pid = todo.pop()
        if pid in table:
            out.append(pid)
        todo += kids.get(pid, [])
    return out


def tree_cpu(root):
    table = stats()
    return sum(table[p][1] for p in tree(root, table))


def busy():
    """Seconds of work so far, by anyone, on the cores that we use."""
    total, cpus = 0, os.sched_getaffinity(0)
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        name, *f = line.split()
        if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in cpus:
            f = list(map(int, f))
            total += sum(f[:3]) + sum(f[5:8])
    return total / TICK


def pss(root):
    total, count = 0, 0
    for pid in tree(root):
        try:
            for line in pathlib.Path("/proc", str(pid), "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
                    count += 1
        except OSError:
            pass
    return total / 1024, count


def end(proc, grace=1.5):
    """Ends a process that we started and everything below it, by pid."""
    if proc.poll() is None:
        below = tree(proc.pid)
        proc.send_signal(signal.SIGTERM)
        try:
            proc.wait(grace)
        except subprocess.TimeoutExpired:
            below = tree(proc.pid)
            for pid in below:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            proc.wait(5)
    sweep()


def sweep():
    """Orphans of ended workers come to us (subreaper): end those that are not ours to keep."""
    keep = {p.pid for p in KEEP if p.poll() is None}
    for _ in range(50):
        table = stats()
        left = [p for p, (ppid, _, _) in table.items() if ppid == os.getpid() and p not in keep]
        if not left:
            return
        for pid in left:
            for each in tree(pid, table):
                try:
                    os.kill(each, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
        time.sleep(0.02)


KEEP = []


# --- one set-up -------------------------------------------------------------------------


def venv_bin(name):
    given = os.environ.get("PEERS_VENV_" + name)
    return (pathlib.Path(given) if given else HOME / ("venv-" + name)) / "bin"


class Setup:
    """One variant of a peer, with a Redis of its own for the time of one sample."""

    def __init__(self, peer, name, spec):
        self.peer, self.name, self.spec = peer, name, spec
        self.worker = None

    def __enter__(self):
        self.redis = Redis(ARGS.ports)
        KEEP.append(self.redis.proc)
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        fd, self.log = tempfile.mkstemp(prefix="peers-", dir=shm)
        os.close(fd)
        self.out = open(ARGS.logs / (self.name + ".log"), "ab") if ARGS.logs else subprocess.DEVNULL
        return self

    def __exit__(self, *_):
        if self.worker:
            KEEP.remove(self.worker)
            end(self.worker)
        KEEP.remove(self.redis.proc)
        self.redis.stop()
        os.unlink(self.log)
        if ARGS.logs:
            self.out.close()

    def env(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        env.update(
            BENCH_PORT=str(self.redis.port),
            BENCH_LOG=self.log,
            PYTHONPATH=str(HERE),
            PYTHONDONTWRITEBYTECODE="1",
            PYTHONUNBUFFERED="1",
        )
        env.update(self.spec.get("env", {}))
        return env

    def drive(self, *args, timeout=180):
        return drive(self.peer, *args, env=self.env(), timeout=timeout)

    def start(self):
        bin_ = venv_bin(self.spec.get("venv") or self.peer.venv)
        cmd = [c.replace("{port}", str(self.redis.port)) for c in self.spec["cmd"]]
        if (bin_ / cmd[0]).exists():
            cmd[0] = str(bin_ / cmd[0])
        env = self.env()
        env["PATH"] = "%s:%s" % (bin_, env["PATH"])
        self.worker = subprocess.Popen(
            cmd,
            cwd=HERE,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self.out,
            stderr=self.out,
            start_new_session=True,
        )
        KEEP.append(self.worker)

    def done(self):
        return os.stat(self.log).st_size // RECORD.size

    def records(self):
        data = pathlib.Path(self.log).read_bytes()
        return [RECORD.unpack_from(data, i) for i in range(0, len(data) - RECORD.size + 1, RECORD.size)]

    def wait(self, n, timeout, step=0.005):
        until = time.monotonic() + timeout
        while self.done() < n:
            if self.worker.poll() is not None:
                raise Failed("the worker ended early (%s)" % self.worker.returncode)
            if time.monotonic() > until:
                raise Failed("only %d of %d jobs ran in %.0f s" % (self.done(), n, timeout))
            time.sleep(step)

    def ready(self):
        """A worker that has run one job, and has then been left alone for a second."""
        self.drive("fill", 1)
        self.start()
        self.wait(1, 60)
        time.sleep(1.0)
        os.truncate(self.log, 0)


def drive(peer, *args, env, timeout):
    proc = subprocess.Popen(
        [str(venv_bin(peer.venv) / "python"), "driver.py", peer.module, *map(str, args)],
        cwd=HERE,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    KEEP.append(proc)
    try:
        out, err = proc.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        end(proc, 0.1)
        raise Failed("the producer took over %d s" % timeout) from None
    finally:
        KEEP.remove(proc)
    for line in out.decode().splitlines():
        if line.startswith("@@"):
            return json.loads(line[2:])
    raise Failed("the producer failed: %s" % err.decode()[-600:])


class Peer:
    def __init__(self, name):
        self.name, self.module = name, "peer_" + name
        text = (HERE / (self.module + ".py")).read_text()
        self.venv = name
        for line in text.splitlines():
            if line.startswith("VENV ="):
                self.venv = line.split("=", 1)[1].strip().strip("\"'")
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        env.update(PYTHONPATH=str(HERE), PYTHONDONTWRITEBYTECODE="1")
        self.about = drive(self, "describe", env=env, timeout=60)


# --- workloads --------------------------------------------------------------------------


class Watch:
    """How many cores were busy with something else than this benchmark."""

    def __init__(self, s):
        self.s = s
        self.at = self.now()

    def now(self):
        kids = resource.getrusage(resource.RUSAGE_CHILDREN)
        i = self.s.redis.ask.info()
        ours = (
            time.process_time()
            + kids.ru_utime
            + kids.ru_stime
            + float(i["used_cpu_user"])
            + float(i["used_cpu_sys"])
        )
        if self.s.worker:
            ours += tree_cpu(self.s.worker.pid)
        return time.monotonic(), busy() - ours

    def others(self):
        t, rest = self.now()
        return max(0.0, (rest - self.at[1]) / (t - self.at[0]))


def quiet(limit=0.2, patience=6.0):
    """Waits a while for the machine's other users to pause."""
    until = time.monotonic() + patience
    while True:
        b, t = busy(), time.monotonic()
        time.sleep(0.2)
        load = (busy() - b) / (time.monotonic() - t)
        if load < limit or time.monotonic() > until:
            return load


def w1(peer, name, spec):
    out = {}
    with Setup(peer, name, spec) as s:
        quiet()
        watch = Watch(s)
        r = s.drive("enqueue", ARGS.w1_jobs)
        out["one"] = r["n"] / r["s"]
        out["one_cpu_us"] = r["cpu"] / r["n"] * 1e6
        if peer.about["bulk"]:
            s.redis.ask("FLUSHALL")
            r = s.drive("bulk", ARGS.w1_jobs)
            out["bulk"] = r["n"] / r["s"]
        out["other_cores"] = watch.others()
    return out


def w2(peer, name, spec):
    n = spec["n"]
    with Setup(peer, name, spec) as s:
        filled = s.drive("fill", n)
        quiet()
        t_start = time.monotonic()
        s.start()
        s.wait(1, 60, 0.002)
        watch, c0, r0, d0 = Watch(s), tree_cpu(s.worker.pid), s.redis.ask.info(), s.done()
        s.wait(n, 150)
        others, c1, r1 = watch.others(), tree_cpu(s.worker.pid), s.redis.ask.info()
        time.sleep(0.2)
        recs = sorted(s.records())
        if len({i for _, i in recs}) != n:
            raise Failed("%d runs of %d distinct jobs, %d queued" % (len(recs), len({i for _, i in recs}), n))
        times = [t for t, _ in recs]
        lo, hi = times[len(times) // 10], times[len(times) * 9 // 10]
        seen = max(1, n - d0)
        rcpu = sum(float(r1[k]) - float(r0[k]) for k in ("used_cpu_user", "used_cpu_sys"))
        return {
            "rate": (len(times) - 1) / (times[-1] - times[0]),
            "twice": len(recs) - n,
            "fill": n / filled["s"],
            "steady": (len(times) * 9 // 10 - len(times) // 10) / (hi - lo),
            "first_s": times[0] - t_start,
            "cpu_us": (c1 - c0) / seen * 1e6,
            "redis_cpu_us": rcpu / seen * 1e6,
            "other_cores": others,
        }


def w6(peer, name, spec):
    """The drain again with producer, worker and Redis on one core: what a job costs in all,
    without the price of waking another core for every round trip."""
    all_cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(all_cpus)})
    try:
        return w2(peer, name, spec)
    finally:
        os.sched_setaffinity(0, all_cpus)


def w3(peer, name, spec):
    if not spec.get("w3", True):
        return {"idle": w4(peer, name, spec)} if "w4" in ARGS.workloads else {}
    n, every = spec.get("pace", [200, 0.02])
    warm = 5 if n >= 100 else 1
    with Setup(peer, name, spec) as s:
        s.ready()
        extra = {"idle": idle(s)} if "w4" in ARGS.workloads else {}
        quiet()
        watch = Watch(s)
        r = s.drive("pace", n + warm, every, timeout=120)
        s.wait(n + warm, 60)
        others = watch.others()
        begun = {}
        for t, i in s.records():
            begun.setdefault(i, t)
        lat = sorted((begun[i] - r["calls"][i]) * 1e3 for i in range(warm, n + warm))
        spent = sorted(x * 1e3 for x in r["spent"][warm:])
        pick = lambda xs, q: xs[min(len(xs) - 1, int(q * len(xs)))]  # noqa: E731
        return {
            "p50": pick(lat, 0.5),
            "p95": pick(lat, 0.95),
            "p99": pick(lat, 0.99),
            "max": lat[-1],
            "call_p50": pick(spent, 0.5),
            "n": n,
            "every": every,
            "other_cores": others,
            **extra,
        }


def idle(s):
    t0, c0 = time.monotonic(), tree_cpu(s.worker.pid)
    k0 = int(s.redis.ask.info()["total_commands_processed"])
    time.sleep(2.0)
    k1 = int(s.redis.ask.info()["total_commands_processed"])
    dt, c1 = time.monotonic() - t0, tree_cpu(s.worker.pid)
    mb, procs = pss(s.worker.pid)
    return {
        "pss_mb": mb,
        "processes": procs,
        "idle_cmds_s": (k1 - k0 - 1) / dt,
        "idle_cpu_pct": (c1 - c0) / dt * 100,
    }


def w4(peer, name, spec):
    with Setup(peer, name, spec) as s:
        s.ready()
        return idle(s)


COUNTERS = (
    "total_commands_processed",
    "total_reads_processed",
    "total_net_input_bytes",
    "total_net_output_bytes",
)


def counts(redis):
    i = redis.ask.info()
    c = {k: int(i[k]) for k in COUNTERS}
    for k, v in i.items():
        if k.startswith("cmdstat_"):
            c[k] = int(v.split("calls=", 1)[1].split(",", 1)[0])
    return c


def per(a, b, n):
    return {k: round((b[k] - a.get(k, 0)) / n, 3) for k in b}


def shape(d):
    cmds = {k[8:]: v for k, v in d.items() if k.startswith("cmdstat_") and v >= 0.01 and k != "cmdstat_info"}
    return {
        "commands": d["total_commands_processed"],
        "trips": d["total_reads_processed"],
        "in_bytes": d["total_net_input_bytes"],
        "out_bytes": d["total_net_output_bytes"],
        "by_command": dict(sorted(cmds.items(), key=lambda kv: -kv[1])),
    }


def w5(peer, name, spec):
    """Two runs of different length, from an empty server; what start-up and idling cost drops out."""
    small, large = spec.get("w5", [100, 1100])
    enq, run = [], []
    for n in (small, large):
        with Setup(peer, name, spec) as s:
            a = counts(s.redis)
            s.drive("fill", n)
            b = counts(s.redis)
            enq.append({k: v - a.get(k, 0) for k, v in b.items()})
            s.start()
            s.wait(n, 120)
            time.sleep(0.7)
            c = counts(s.redis)
            run.append({k: v - b.get(k, 0) for k, v in c.items()})
    return {
        "enqueue": shape(per(enq[0], enq[1], large - small)),
        "run": shape(per(run[0], run[1], large - small)),
    }


def undisturbed(workload, peer, name, spec, limit=DISTURBED, tries=2):
    """Takes a sample again (once at most) when others used the machine; keeps the least disturbed."""
    best = None
    for again in range(tries):
        got = workload(peer, name, spec)
        got["again"] = again
        if best is None or got.get("other_cores", 0) < best["other_cores"]:
            best = got
        if got.get("other_cores", 0) <= limit:
            break
    return best


def w0():
    """redis-benchmark against a fresh server."""
    out = {}
    redis = Redis(ARGS.ports)
    KEEP.append(redis.proc)
    try:
        for clients in (1, 50):
            for depth in (1, 16, 100):
                n = 50000 if depth == 1 else 300000
                got = subprocess.run(
                    [
                        "redis-benchmark",
                        "-p",
                        str(redis.port),
                        "-c",
                        str(clients),
                        "-P",
                        str(depth),
                        "-n",
                        str(n),
                        "-d",
                        "100",
                        "-t",
                        "lpush,rpop",
                        "--csv",
                    ],
                    capture_output=True,
                    text=True,
                    timeout=120,
                ).stdout
                for line in got.splitlines():
                    f = [x.strip('"') for x in line.split(",")]
                    if f and f[0].split(" ")[0].upper() in ("LPUSH", "RPOP"):
                        out["%s -c %d -P %d" % (f[0].split(" ")[0].lower(), clients, depth)] = float(f[1])
                redis.ask("FLUSHALL")
    finally:
        KEEP.remove(redis.proc)
        redis.stop()
    return out


# --- the report -------------------------------------------------------------------------


def mid(xs):
    return statistics.median(xs)


def clean(samples):
    """Samples taken while the machine was ours; all of them when there is none such."""
    return [s for s in samples if s.get("other_cores", 0) <= DISTURBED] or samples


def used(samples):
    return "%d of %d" % (len(clean(samples)), len(samples))


def med(samples, key):
    xs = [s[key] for s in clean(samples) if key in s]
    return mid(xs) if xs else None


def fmt(x, digits=0):
    if x is None:
        return "–"
    return f"{x:,.{digits}f}"


def spread(samples, key):
    xs = [s[key] for s in clean(samples) if key in s]
    return "–" if not xs else "%s–%s" % (fmt(min(xs)), fmt(max(xs)))


def report(result):
    data = result["samples"]
    print("\n## Versions\n")
    for peer, about in result["peers"].items():
        print(
            "- %s: %s (Python %s)"
            % (peer, ", ".join(f"{k} {v}" for k, v in about["versions"].items()), about["python"])
        )
    print("- %s" % result["redis"])
    if data.get("w0"):
        print("\n## w0: redis-benchmark, requests a second\n\n| case | median | min–max |\n|---|---:|---:|")
        for key in data["w0"][0]:
            print("| %s | %s | %s |" % (key, fmt(med(data["w0"], key)), spread(data["w0"], key)))
    rows = [v for v in result["order"]]
    get = lambda w, v: data.get(w, {}).get(v, [])  # noqa: E731
    if data.get("w1"):
        print("\n## w1: enqueue, jobs a second, one producer\n")
        print(
            "| set-up | one at a time | min–max | CPU us/job | bulk | bulk call | samples used |\n"
            "|---|---:|---:|---:|---:|---|---:|"
        )
        for v in rows:
            s = get("w1", v)
            if s:
                print(
                    "| %s | %s | %s | %s | %s | %s | %s |"
                    % (
                        v,
                        fmt(med(s, "one")),
                        spread(s, "one"),
                        fmt(med(s, "one_cpu_us")),
                        fmt(med(s, "bulk")),
                        result["peers"][result["of"][v]]["bulk"] or "none",
                        used(s),
                    )
                )
    for w, title in (("w2", "drain, jobs a second"), ("w6", "the same with everything on one core")):
        if data.get(w):
            print("\n## %s: %s\n" % (w, title))
            print(
                "| set-up | jobs | rate | min–max | middle 80 % | worker CPU us/job | Redis CPU us/job "
                "| start to first job s | ran twice | enqueue rate | samples used |\n"
                + "|---"
                + "|---:" * 10
                + "|"
            )
        for v in rows:
            s = get(w, v)
            if s:
                print(
                    "| %s | %d | %s | %s | %s | %s | %s | %s | %s | %s | %s |"
                    % (
                        v,
                        result["specs"][v]["n"],
                        fmt(med(s, "rate")),
                        spread(s, "rate"),
                        fmt(med(s, "steady")),
                        fmt(med(s, "cpu_us")),
                        fmt(med(s, "redis_cpu_us")),
                        fmt(med(s, "first_s"), 2),
                        "/".join(str(x["twice"]) for x in s),
                        fmt(med(s, "fill")),
                        used(s),
                    )
                )
    if data.get("w3"):
        print("\n## w3: enqueue call to job start, ms, one job every 20 ms unless said\n")
        print(
            "| set-up | p50 | p95 | p99 | max | enqueue call p50 | samples used |\n|---|---:|---:|---:|---:|---:|---:|"
        )
        for v in rows:
            s = get("w3", v)
            if s:
                pace = s[0]["every"]
                print(
                    "| %s%s | %s | %s | %s | %s | %s | %s |"
                    % (
                        v,
                        "" if pace == 0.02 else " (every %g s)" % pace,
                        fmt(med(s, "p50"), 2),
                        fmt(med(s, "p95"), 2),
                        fmt(med(s, "p99"), 2),
                        fmt(med(s, "max"), 2),
                        fmt(med(s, "call_p50"), 2),
                        used(s),
                    )
                )
    if data.get("w4"):
        print("\n## w4: idle worker\n")
        print("| set-up | PSS MiB | processes | idle commands/s | idle CPU % |\n|---|---:|---:|---:|---:|")
        for v in rows:
            s = get("w4", v)
            if s:
                print(
                    "| %s | %s | %s | %s | %s |"
                    % (
                        v,
                        fmt(med(s, "pss_mb"), 1),
                        fmt(med(s, "processes")),
                        fmt(med(s, "idle_cmds_s"), 1),
                        fmt(med(s, "idle_cpu_pct"), 1),
                    )
                )
    if data.get("w5"):
        print("\n## w5: Redis commands (those inside scripts counted) and reads per job\n")
        print(
            "| set-up | enqueue commands | enqueue trips | run commands | run trips | bytes in / out per job "
            "| commands per run |\n|---|---:|---:|---:|---:|---:|---|"
        )
        for v in rows:
            s = get("w5", v)
            if s:
                e, r = s[-1]["enqueue"], s[-1]["run"]
                each = ", ".join(
                    "%s %s" % (k, ("%.2f" % c).rstrip("0").rstrip("."))
                    for k, c in r["by_command"].items()
                    if c >= 0.05
                )
                print(
                    "| %s | %.1f | %.1f | %.1f | %.1f | %.0f / %.0f | %s |"
                    % (
                        v,
                        e["commands"],
                        e["trips"],
                        r["commands"],
                        r["trips"],
                        r["in_bytes"],
                        r["out_bytes"],
                        each,
                    )
                )
    print("\n## Set-ups\n")
    for v in rows:
        print("- %s: %s" % (v, result["specs"][v].get("note", "")))
    if result["errors"]:
        print("\n## Failed\n")
        for e in result["errors"]:
            print("- " + e)


def merged(results):
    first, *rest = results
    for r in rest:
        for v in r["order"]:
            if v not in first["order"]:
                first["order"].append(v)
        for key in ("of", "specs", "peers"):
            first[key].update(r[key])
        first["errors"] += r["errors"]
        for w, got in r["samples"].items():
            if w == "w0":
                first["samples"].setdefault(w, []).extend(got)
                continue
            for v, samples in got.items():
                first["samples"].setdefault(w, {}).setdefault(v, []).extend(samples)
    return first


def main():
    known = sorted(p.stem[5:] for p in HERE.glob("peer_*.py"))
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--peers", default=",".join(known))
    ap.add_argument("--variants", default="", help="only these set-ups")
    ap.add_argument("--workloads", default=",".join(WORKLOADS))
    ap.add_argument("--repeat", type=int, default=3)
    ap.add_argument("--w1-jobs", type=int, default=5000)
    ap.add_argument("--ports", default="6390-6399", help="loopback ports that may be used")
    ap.add_argument("--json", type=pathlib.Path, help="where every sample is written")
    ap.add_argument("--logs", type=pathlib.Path, help="folder for the workers' output (default: none kept)")
    ap.add_argument("--minutes", type=float, default=45, help="start no further sample after this long")
    ap.add_argument(
        "--report",
        type=pathlib.Path,
        nargs="+",
        help="only print the tables of earlier --json files, their samples put together",
    )
    ap.add_argument("--list", action="store_true")
    global ARGS
    ARGS = ap.parse_args()
    if ARGS.report:
        report(merged([json.loads(f.read_text()) for f in ARGS.report]))
        return 0
    lo, _, hi = ARGS.ports.partition("-")
    ARGS.ports = range(int(lo), int(hi or lo) + 1)
    ARGS.workloads = loads = ARGS.workloads.split(",")
    if ARGS.logs:
        ARGS.logs.mkdir(parents=True, exist_ok=True)
    ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    only = set(filter(None, ARGS.variants.split(",")))
    peers, setups, errors = {}, [], []
    for name in ARGS.peers.split(","):
        try:
            peers[name] = Peer(name)
        except (Failed, OSError) as e:
            errors.append("%s: %s" % (name, str(e).strip().splitlines()[-1]))
            continue
        for v, spec in peers[name].about["variants"].items():
            if not only or v in only:
                setups.append((peers[name], v, spec))
    if ARGS.list:
        for peer, v, spec in setups:
            print("%-26s %s" % (v, spec.get("note", "")))
        return 0

    result = {
        "redis": subprocess.run(["redis-server", "--version"], capture_output=True, text=True).stdout.strip(),
        "cpus": os.cpu_count(),
        "kernel": os.uname().release,
        "begun": time.strftime("%Y-%m-%d %H:%M:%S"),
        "peers": {n: p.about for n, p in peers.items()},
        "order": [v for _, v, _ in setups],
        "of": {v: p.name for p, v, _ in setups},
        "specs": {v: s for _, v, s in setups},
        "samples": {},
        "errors": errors,
        "load": [],
    }
    data, begun = result["samples"], time.monotonic()
    skip = set()

    def late():
        return time.monotonic() - begun > ARGS.minutes * 60

    def save():
        if ARGS.json:
            ARGS.json.write_text(json.dumps(result, indent=1))

    for rep in range(ARGS.repeat):
        for w in loads:
            if w == "w0":
                if not late():
                    data.setdefault("w0", []).append(w0())
                continue
            if (w == "w5" and rep) or (w == "w4" and "w3" in loads):
                continue  # w5 counts, it does not time; w3 takes w4's figures on its way
            for peer, v, spec in setups:
                if (w == "w1" and not spec.get("w1")) or (w == "w6" and spec.get("cores", 1) > 1):
                    continue
                if late() or (w, v) in skip:
                    continue
                t0 = time.monotonic()
                try:
                    got = undisturbed(globals()[w], peer, v, spec)
                    if "idle" in got:
                        data.setdefault("w4", {}).setdefault(v, []).append(got.pop("idle"))
                    if set(got) - {"again"}:
                        data.setdefault(w, {}).setdefault(v, []).append(got)
                    head = {
                        k: (round(x, 2) if isinstance(x, float) else x)
                        for k, x in got.items()
                        if not isinstance(x, dict)
                    }
                    print(
                        "%d %s %-24s %5.1f s %s" % (rep, w, v, time.monotonic() - t0, head),
                        file=sys.stderr,
                        flush=True,
                    )
                except (Failed, subprocess.TimeoutExpired) as e:
                    skip.add((w, v))
                    errors.append("%s %s (repetition %d): %s" % (w, v, rep, e))
                    print("%d %s %-24s FAILED: %s" % (rep, w, v, e), file=sys.stderr, flush=True)
                save()
        result["load"].append(os.getloadavg())
    result["took_s"] = time.monotonic() - begun
    if late():
        errors.append("the time limit of %g minutes cut the run short" % ARGS.minutes)
    save()
    report(result)
    for proc in list(KEEP):
        KEEP.remove(proc)
        end(proc, 0.2)
    sweep()
    return 0


if __name__ == "__main__":
    sys.exit(main())
