"""RQ. Results are kept by default (500 s, in a stream per job, next to the job's hash)."""

import common
from common import PORT, QUEUE, noop

PACKAGES = ["rq", "redis", "hiredis"]
URL = "redis://127.0.0.1:{port}/0"


def _worker(*more, kind="worker"):
    return ["rq", kind, "-u", URL, *more, QUEUE]


VARIANTS = {
    "rq-fork": {
        "cmd": _worker(),
        "n": 500,
        "w1": True,
        "w5": [50, 250],
        "note": "Worker, a fork per job; results kept 500 s",
    },
    "rq-simple": {
        "cmd": _worker("-w", "rq.SimpleWorker"),
        "n": 2000,
        "note": "SimpleWorker, jobs in the worker process; INFO log lines per job (default)",
    },
    "rq-simple-quiet": {
        "w3": False,
        "cmd": _worker("-w", "rq.SimpleWorker", "--quiet"),
        "n": 2000,
        "note": "the same with --quiet (no log line per job)",
    },
    "rq-spawn": {
        "cmd": _worker("-w", "rq.worker.SpawnWorker"),
        "n": 30,
        "w5": [5, 25],
        "pace": [20, 0.6],
        "note": "SpawnWorker, a new interpreter per job",
    },
    "rq-pool2-fork": {
        "cores": 2,
        "cmd": _worker("-n", "2", kind="worker-pool"),
        "n": 1000,
        "w5": [50, 250],
        "note": "WorkerPool of 2, default Worker",
    },
    "rq-pool2-simple": {
        "cores": 2,
        "cmd": _worker("-n", "2", "-w", "rq.SimpleWorker", kind="worker-pool"),
        "n": 2000,
        "note": "WorkerPool of 2 with SimpleWorker",
    },
}
BULK = "Queue.enqueue_many, 1000 per call"
_q = None


def connect():
    global _q
    from redis import Redis
    from rq import Queue

    _q = Queue(QUEUE, connection=Redis(host=common.HOST, port=PORT))


def enqueue(i):
    _q.enqueue(noop, i, i + 1)


def bulk(lo, hi):
    for j in range(lo, hi, 1000):
        _q.enqueue_many([_q.prepare_data(noop, args=(i, i + 1)) for i in range(j, min(j + 1000, hi))])
