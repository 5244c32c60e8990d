"""Waiting less than in earnest: shorter times for a worker under test, set before anything has read them; and
a name that is not its own.

A worker waits 90 seconds until it takes another one for dead. A test of that cannot. The times keep their
order: a lease is longer than a few signs of life, the last look is later than any BLMOVE.
"""

from __future__ import annotations

import importlib
import json
import os
from typing import Any

#: The environment variable that holds times to set besides, as JSON; "null" leaves all of them as they are.
VARIABLE = "FAULTS_HASTE"

#: The one that holds a name for all children.
NAME_VARIABLE = "FAULTS_NAME"

#: Module and name of each time, in seconds, from the ground floor up: a module copies those below it.
TIMES: dict[str, float] = {
    "link.LAST_PAUSE_S": 0.3,
    "lifecycle.FIRST_BACKOFF_S": 0.05,
    "lifecycle.LAST_BACKOFF_S": 0.5,
    "cycle.LEASE_S": 4,
    "waiting.WAIT_S": 1.0,
    "waiting._GRACE_S": 1.0,
    "waiting.LAST_LOOK_S": 2,
    "beats.INTERVAL_S": 0.5,
    "upkeep.STEADY_S": 1.0,
    "upkeep.TIMEOUT_S": 1.0,
    "engine._FRESH_S": 1.0,
    "exchange.REPORT_PATIENCE_S": 5.0,
    "worker._MAINTENANCE_PAUSE_S": 0.5,
}


def hurry() -> None:
    """Set the times in this process."""
    given = json.loads(os.environ.get(VARIABLE, "{}"))
    if given is None:
        return
    for name, seconds in {**TIMES, **given}.items():
        module_name, _, attribute = name.rpartition(".")
        module = importlib.import_module(f"ctxjobs_worker.{module_name}")
        if not hasattr(module, attribute):
            raise AttributeError(f"{name} is no time of the worker's any more")
        setattr(module, attribute, seconds)
    _shorten_the_lock_of_maintenance()


def rename() -> None:
    """Let all children of this worker have one name, which another worker may have, too."""
    if name := os.environ.get(NAME_VARIABLE):
        module: Any = importlib.import_module("ctxjobs_worker.options")
        module.child_name = lambda pid, token: name


def _shorten_the_lock_of_maintenance() -> None:
    """RQ's lasts a quarter of an hour, and stays behind when the process that holds it is killed."""
    from rq.queue import Queue

    def acquire(queue: Any) -> bool:
        return bool(queue.connection.set(queue.registry_cleaning_key, 1, nx=True, ex=2))

    Queue.acquire_maintenance_lock = acquire  # type: ignore[method-assign]
