"""Taskiq with taskiq-redis: the list broker (popped = gone) and the stream broker (acked)."""

import os

import common
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

PACKAGES = ["taskiq", "taskiq-redis", "redis", "hiredis"]
_kind = os.environ.get("BENCH_TASKIQ", "list")
if _kind == "stream":
    # consumer_id "0": the default "$" skips what was queued before the first worker came.
    broker = RedisStreamBroker(common.URL, queue_name=common.QUEUE, consumer_id="0")
else:
    broker = ListQueueBroker(common.URL, queue_name=common.QUEUE)
if os.environ.get("BENCH_RESULTS"):
    broker = broker.with_result_backend(RedisAsyncResultBackend(common.URL))


@broker.task(task_name="noop")
async def noop(a: int, b: int) -> int:
    return common.noop(a, b)


def _worker(n):
    return ["taskiq", "worker", "peer_taskiq:broker", "--workers", str(n)]


_stream = {"BENCH_TASKIQ": "stream"}
VARIANTS = {
    "taskiq-list-w1": {
        "cmd": _worker(1),
        "n": 5000,
        "w1": True,
        "note": "list broker, 1 worker; no results, no ack (BRPOP)",
    },
    "taskiq-list-w2": {
        "w3": False,
        "cores": 2,
        "cmd": _worker(2),
        "n": 5000,
        "note": "list broker, 2 workers",
    },
    "taskiq-list-w1-results": {
        "w3": False,
        "cmd": _worker(1),
        "n": 5000,
        "env": {"BENCH_RESULTS": "1"},
        "note": "list broker, 1 worker, Redis results (never expire)",
    },
    "taskiq-stream-w1": {
        "cmd": _worker(1),
        "n": 5000,
        "w1": True,
        "env": _stream,
        "note": "stream broker (XREADGROUP 100, XACK each), 1 worker; no results",
    },
    "taskiq-stream-w2": {
        "w3": False,
        "cores": 2,
        "cmd": _worker(2),
        "n": 5000,
        "env": _stream,
        "note": "stream broker, 2 workers",
    },
}


async def connect():
    await broker.startup()


async def disconnect():
    await broker.shutdown()


async def enqueue(i):
    await noop.kiq(i, i + 1)
