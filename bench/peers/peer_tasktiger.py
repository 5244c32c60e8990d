"""TaskTiger. It keeps no results."""

import common
import redis
from tasktiger import TaskTiger

PACKAGES = ["tasktiger", "redis", "hiredis"]
tiger = TaskTiger(connection=redis.Redis(host=common.HOST, port=common.PORT, decode_responses=True))


@tiger.task(queue=common.QUEUE)
def noop(a, b):
    common.noop(a, b)


_cmd = ["tasktiger", "-h", "127.0.0.1", "-p", "{port}", "-m", "peer_tasktiger"]
VARIANTS = {
    "tasktiger-fork": {
        "cmd": _cmd,
        "n": 500,
        "w1": True,
        "w5": [50, 250],
        "note": "a fork per job (default); no results",
    },
    "tasktiger-sync": {
        "cmd": [*_cmd, "--executor", "sync"],
        "n": 2000,
        "note": "sync executor, jobs in the worker process",
    },
}


def enqueue(i):
    noop.delay(i, i + 1)
