"""Runs inside a peer's environment: describes the peer, and enqueues for it.

  python driver.py MODULE describe
  python driver.py MODULE fill N           N jobs, one at a time, timed from the first
  python driver.py MODULE enqueue N        the same, timed after 50 warm-up jobs
  python driver.py MODULE bulk N           N jobs by the peer's bulk call, timed
  python driver.py MODULE pace N SECONDS   one job every SECONDS, call times given back

One line of JSON comes out. A peer's `enqueue` may be a coroutine function; it is then
awaited one call at a time on one event loop.
"""

import asyncio
import importlib
import importlib.metadata as md
import inspect
import json
import sys
import time


def describe(mod):
    vers = {}
    for name in getattr(mod, "PACKAGES", []):
        try:
            vers[name] = md.version(name)
        except md.PackageNotFoundError:
            vers[name] = None
    return {
        "variants": mod.VARIANTS,
        "versions": vers,
        "bulk": getattr(mod, "BULK", None),
        "python": sys.version.split()[0],
    }


class Async:
    """Gives an async peer the same calls as a sync one, inside one running loop."""

    def __init__(self, mod):
        self.mod = mod

    async def run(self, what, args):
        mod = self.mod
        if hasattr(mod, "connect"):
            await mod.connect()
        try:
            return await getattr(self, what)(*args)
        finally:
            if hasattr(mod, "disconnect"):
                await mod.disconnect()

    async def fill(self, n):
        t0 = time.perf_counter()
        for i in range(n):
            await self.mod.enqueue(i)
        return {"n": n, "s": time.perf_counter() - t0}

    async def enqueue(self, n):
        for i in range(50):
            await self.mod.enqueue(-1 - i)
        c0, t0 = time.process_time(), time.perf_counter()
        for i in range(n):
            await self.mod.enqueue(i)
        t1, c1 = time.perf_counter(), time.process_time()
        return {"n": n, "s": t1 - t0, "cpu": c1 - c0}

    async def bulk(self, n):
        await self.mod.bulk(-50, 0)
        c0, t0 = time.process_time(), time.perf_counter()
        await self.mod.bulk(0, n)
        t1, c1 = time.perf_counter(), time.process_time()
        return {"n": n, "s": t1 - t0, "cpu": c1 - c0}

    async def pace(self, n, every):
        calls, spent = [], []
        start = time.monotonic() + 0.05
        for i in range(n):
            wait = start + i * every - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            t0 = time.monotonic()
            await self.mod.enqueue(i)
            calls.append(t0)
            spent.append(time.monotonic() - t0)
        return {"n": n, "calls": calls, "spent": spent}


class Sync:
    def __init__(self, mod):
        self.mod = mod

    def run(self, what, args):
        if hasattr(self.mod, "connect"):
            self.mod.connect()
        try:
            return getattr(self, what)(*args)
        finally:
            if hasattr(self.mod, "disconnect"):
                self.mod.disconnect()

    def fill(self, n):
        t0 = time.perf_counter()
        for i in range(n):
            self.mod.enqueue(i)
        return {"n": n, "s": time.perf_counter() - t0}

    def enqueue(self, n):
        enqueue = self.mod.enqueue
        for i in range(50):
            enqueue(-1 - i)
        c0, t0 = time.process_time(), time.perf_counter()
        for i in range(n):
            enqueue(i)
        t1, c1 = time.perf_counter(), time.process_time()
        return {"n": n, "s": t1 - t0, "cpu": c1 - c0}

    def bulk(self, n):
        self.mod.bulk(-50, 0)
        c0, t0 = time.process_time(), time.perf_counter()
        self.mod.bulk(0, n)
        t1, c1 = time.perf_counter(), time.process_time()
        return {"n": n, "s": t1 - t0, "cpu": c1 - c0}

    def pace(self, n, every):
        calls, spent = [], []
        start = time.monotonic() + 0.05
        for i in range(n):
            wait = start + i * every - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            t0 = time.monotonic()
            self.mod.enqueue(i)
            calls.append(t0)
            spent.append(time.monotonic() - t0)
        return {"n": n, "calls": calls, "spent": spent}


def main():
    mod = importlib.import_module(sys.argv[1])
    what = sys.argv[2]
    if what == "describe":
        out = describe(mod)
    else:
        args = [int(sys.argv[3])] + [float(x) for x in sys.argv[4:5]]
        if inspect.iscoroutinefunction(mod.enqueue):
            runner = getattr(mod, "run", asyncio.run)
            out = runner(Async(mod).run(what, args))
        else:
            out = Sync(mod).run(what, args)
    sys.stdout.write("\n@@" + json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
