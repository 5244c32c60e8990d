"""Celery on the Redis transport. By default it has no result backend: nothing is kept."""

import os

import common
from celery import Celery, group

PACKAGES = ["celery", "kombu", "billiard", "redis", "hiredis"]

_keep = bool(os.environ.get("BENCH_RESULTS"))
app = Celery("bench", broker=common.URL, backend=common.URL if _keep else None)
app.conf.task_ignore_result = not _keep
app.conf.task_default_queue = common.QUEUE
app.conf.broker_connection_retry_on_startup = True
if os.environ.get("BENCH_PREFETCH"):
    app.conf.worker_prefetch_multiplier = int(os.environ["BENCH_PREFETCH"])


@app.task(name="noop")
def noop(a, b):
    return common.noop(a, b)


def _worker(*more):
    return ["celery", "-A", "peer_celery", "worker", *more]


_lean = ("--without-gossip", "--without-mingle", "--without-heartbeat")
_tuned = {"BENCH_PREFETCH": "256"}
VARIANTS = {
    "celery-c1": {
        "cmd": _worker("-c", "1"),
        "n": 3000,
        "w1": True,
        "note": "prefork 1, defaults (prefetch 4, no result backend)",
    },
    "celery-c2": {"cores": 2, "cmd": _worker("-c", "2"), "n": 3000, "note": "prefork 2, defaults"},
    "celery-c1-results": {
        "w3": False,
        "cmd": _worker("-c", "1"),
        "n": 3000,
        "w1": True,
        "env": {"BENCH_RESULTS": "1"},
        "note": "prefork 1, Redis result backend (kept 1 day)",
    },
    "celery-c2-results": {
        "w3": False,
        "cores": 2,
        "cmd": _worker("-c", "2"),
        "n": 3000,
        "env": {"BENCH_RESULTS": "1"},
        "note": "prefork 2, Redis result backend (kept 1 day)",
    },
    "celery-c1-tuned": {
        "w3": False,
        "cmd": _worker("-c", "1", *_lean),
        "n": 3000,
        "env": dict(_tuned),
        "note": "prefork 1, prefetch 256, no gossip/mingle/heartbeat, results ignored",
    },
    "celery-c2-tuned": {
        "cores": 2,
        "cmd": _worker("-c", "2", *_lean),
        "n": 3000,
        "env": dict(_tuned),
        "note": "prefork 2, the same",
    },
    "celery-c2-tuned-results": {
        "w3": False,
        "cores": 2,
        "cmd": _worker("-c", "2", *_lean),
        "n": 3000,
        "env": {**_tuned, "BENCH_RESULTS": "1"},
        "note": "prefork 2, the same, results kept",
    },
    "celery-solo": {
        "cmd": _worker("-P", "solo"),
        "n": 3000,
        "note": "solo pool: jobs in the worker process, results ignored",
    },
}
BULK = "group(...).apply_async()"


def enqueue(i):
    noop.delay(i, i + 1)


def bulk(lo, hi):
    group(noop.s(i, i + 1) for i in range(lo, hi)).apply_async()
