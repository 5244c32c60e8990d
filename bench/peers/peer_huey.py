"""Huey on Redis. Results are kept by default (one hash, until read)."""

import common
from huey import RedisHuey

PACKAGES = ["huey", "redis", "hiredis"]
huey = RedisHuey(common.QUEUE, host=common.HOST, port=common.PORT)


@huey.task()
def noop(a, b):
    return common.noop(a, b)


def _worker(*more):
    return ["huey_consumer", "peer_huey.huey", *more]


VARIANTS = {
    "huey-thread-w1": {
        "cmd": _worker("-w", "1"),
        "n": 5000,
        "w1": True,
        "note": "1 thread; results kept; INFO log lines (default)",
    },
    "huey-thread-w8": {"w3": False, "cmd": _worker("-w", "8"), "n": 5000, "note": "8 threads"},
    "huey-process-w2": {
        "cores": 2,
        "cmd": _worker("-w", "2", "-k", "process"),
        "n": 5000,
        "note": "2 processes",
    },
}


def enqueue(i):
    noop(i, i + 1)
