"""arq. Results are kept by default (3600 s)."""

import os

import common
from arq import create_pool
from arq.connections import RedisSettings

PACKAGES = ["arq", "redis", "hiredis"]
_settings = RedisSettings(host=common.HOST, port=common.PORT)
_pool = None


async def noop(ctx, a, b):
    return common.noop(a, b)


class WorkerSettings:
    functions = [noop]
    redis_settings = _settings
    max_jobs = int(os.environ.get("BENCH_CONCURRENCY", "10"))
    poll_delay = float(os.environ.get("BENCH_POLL", "0.5"))


_cmd = ["arq", "peer_arq.WorkerSettings"]
VARIANTS = {
    "arq": {
        "cmd": _cmd,
        "n": 1000,
        "w1": True,
        "w5": [100, 600],
        "note": "defaults: max_jobs 10, poll every 0.5 s; results kept 3600 s",
    },
    "arq-tuned": {
        "cmd": _cmd,
        "n": 5000,
        "env": {"BENCH_CONCURRENCY": "100", "BENCH_POLL": "0.01"},
        "note": "max_jobs 100, poll every 10 ms",
    },
}


async def connect():
    global _pool
    _pool = await create_pool(_settings)


async def disconnect():
    await _pool.aclose()


async def enqueue(i):
    await _pool.enqueue_job("noop", i, i + 1)
