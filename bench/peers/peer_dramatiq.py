"""Dramatiq on its Redis broker. No results by default; acknowledged after the run."""

import common
import dramatiq
from dramatiq.brokers.redis import RedisBroker

PACKAGES = ["dramatiq", "redis", "hiredis"]
broker = RedisBroker(host=common.HOST, port=common.PORT)
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=common.QUEUE)
def noop(a, b):
    common.noop(a, b)


def _worker(p, t):
    return ["dramatiq", "peer_dramatiq", "--processes", str(p), "--threads", str(t)]


VARIANTS = {
    "dramatiq-p1t1": {"cmd": _worker(1, 1), "n": 1500, "note": "1 process, 1 thread; no results"},
    "dramatiq-p1t8": {
        "cmd": _worker(1, 8),
        "n": 5000,
        "w1": True,
        "note": "1 process, 8 threads; no results",
    },
    "dramatiq-p1t32": {
        "w3": False,
        "cmd": _worker(1, 32),
        "n": 5000,
        "note": "1 process, 32 threads (prefetch 64)",
    },
    "dramatiq-p2t8": {
        "cores": 2,
        "cmd": _worker(2, 8),
        "n": 5000,
        "note": "2 processes, 8 threads each; no results",
    },
}
BULK = "dramatiq.group(...).run() (one script call per message)"


def enqueue(i):
    noop.send(i, i + 1)


def bulk(lo, hi):
    dramatiq.group(noop.message(i, i + 1) for i in range(lo, hi)).run()
