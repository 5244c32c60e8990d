"""The three kinds of worker, each as a process that works until its queues are empty."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from redis import Redis
from rq import Queue
from rq.registry import ScheduledJobRegistry
from support.worker_process import PYTHONPATH

#: Ours; RQ's own, which forks for each job; RQ's own that runs all jobs in one process.
WORKERS = ("ctxjobs", "rq", "rq-simple")
QUEUES = ("leaks", "default", "other")
#: The longest that one worker may take to empty its queues.
BURST_TIMEOUT_S = 60.0


def run_worker(worker: str, apps: Sequence[str], url: str, queues: Sequence[str], *options: str) -> str:
    """Run one worker in burst mode to its end; return what it logged.

    Raises:
        AssertionError: It ended with an error; has its log.
    """
    if worker == "ctxjobs":
        command = [sys.executable, "-m", "ctxjobs", "worker", *(f"--app={app}" for app in apps)]
    else:
        # The parent of RQ's forks imports what the jobs need, so that each of them need not.
        command = [sys.executable, "-m", "rq.cli", "worker", "--config=support.matrix.preloaded"]
        command += ["--worker-class=rq.SimpleWorker"] if worker == "rq-simple" else []
    command += ["--burst", "--with-scheduler", "--url", url, *options, *queues]
    return run_process(command, url, CTXJOBS_APP="" if worker == "ctxjobs" else " ".join(apps))


def run_process(command: Sequence[str], url: str, **environ: str) -> str:
    """Run a command to its end, with Redis and the tests' modules in its environment."""
    settings = {"PYTHONPATH": PYTHONPATH, "CTXJOBS_REDIS_URL": url, **environ}
    with tempfile.TemporaryFile("w+") as log:
        code = subprocess.run(
            command,
            stdout=log,
            stderr=log,
            timeout=BURST_TIMEOUT_S,
            env={**os.environ, **settings},
            check=False,
        ).returncode
        log.seek(0)
        text = log.read()
    assert code == 0, f"{command} ended with {code}:\n{text}"
    return text


def next_due(connection: Redis) -> float | None:
    """When there is something to do next, in seconds since the epoch; None if nothing is left."""
    queues = [Queue(name, connection=connection) for name in QUEUES]
    if any(len(queue) for queue in queues):
        return 1.0
    registries = [ScheduledJobRegistry(queue=queue) for queue in queues]
    scores = [
        score
        for registry in registries
        for _, score in connection.zrange(registry.key, 0, 0, withscores=True)
    ]
    return min(scores, default=None)
