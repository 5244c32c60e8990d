"""SAQ. Results are kept by default (600 s, inside the job's key)."""

import os

import common
from saq import Queue

PACKAGES = ["saq", "redis", "hiredis"]
queue = Queue.from_url(common.URL, name=common.QUEUE)


async def noop(ctx, *, a, b):
    return common.noop(a, b)


settings = {
    "queue": queue,
    "functions": [noop],
    "concurrency": int(os.environ.get("BENCH_CONCURRENCY", "10")),
}

VARIANTS = {
    "saq-w1": {
        "cmd": ["saq", "peer_saq.settings"],
        "n": 5000,
        "w1": True,
        "note": "1 process, concurrency 10 (default); results kept 600 s",
    },
    "saq-w2": {
        "w3": False,
        "cores": 2,
        "cmd": ["saq", "peer_saq.settings", "--workers", "2"],
        "n": 5000,
        "note": "2 processes, concurrency 10 each",
    },
}


async def connect():
    await queue.connect()


async def disconnect():
    await queue.disconnect()


async def enqueue(i):
    await queue.enqueue("noop", a=i, b=i + 1)
