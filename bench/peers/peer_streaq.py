"""streaQ (streams, coredis). Results are kept by default (300 s)."""

import os

import anyio
import common
from streaq import Worker

PACKAGES = ["streaq", "coredis", "anyio"]
worker = Worker(redis_url=common.URL, concurrency=int(os.environ.get("BENCH_CONCURRENCY", "16")))
_ctx = None


@worker.task
async def noop(a: int, b: int) -> int:
    return common.noop(a, b)


_cmd = ["streaq", "run", "peer_streaq:worker"]
VARIANTS = {
    "streaq-w1": {
        "cmd": _cmd,
        "n": 3000,
        "w1": True,
        "note": "1 process, concurrency 16, prefetch 16 (defaults); results kept 300 s",
    },
    "streaq-w2": {"w3": False, "cores": 2, "cmd": [*_cmd, "-w", "2"], "n": 3000, "note": "2 processes"},
    "streaq-w1-c256": {
        "w3": False,
        "cmd": _cmd,
        "n": 3000,
        "env": {"BENCH_CONCURRENCY": "256"},
        "note": "1 process, concurrency and prefetch 256",
    },
}
BULK = "Worker.enqueue_many, 1000 per call"


def run(coro):
    async def main():
        return await coro

    return anyio.run(main, backend="asyncio")


async def connect():
    global _ctx
    _ctx = worker
    await _ctx.__aenter__()


async def disconnect():
    await _ctx.__aexit__(None, None, None)


async def enqueue(i):
    await noop.enqueue(i, i + 1)


async def bulk(lo, hi):
    for j in range(lo, hi, 1000):
        await worker.enqueue_many([noop.enqueue(i, i + 1) for i in range(j, min(j + 1000, hi))])
