"""All ways to enqueue, each in a traced view of its own; run as a process, the web process of the tests.

Writes what a worker's record is compared with, to the file that it is given: for each way its trace, its
span, and the ids of its jobs.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import sentry_sdk
from redis import Redis
from rq import Callback, Repeat, Retry
from support import traced_app as app_module
from support.traced_app import come_back, create_app, fail, flaky, here, nest, report, view

from ctxjobs import Queue

WAYS: dict[str, Callable[[Queue], Iterable[Any]]] = {
    "enqueue": lambda queue: [report.enqueue("a"), report.enqueue(label="b")],
    "enqueue_in": lambda queue: [report.enqueue_in(1)],
    "enqueue_at": lambda queue: [report.enqueue_at(datetime.now(timezone.utc) + timedelta(seconds=1))],
    "enqueue_many": lambda queue: report.enqueue_many([("a",), ("b",)]),
    "Queue.enqueue": lambda queue: [queue.enqueue(report, "a")],
    "Queue.enqueue_in": lambda queue: [queue.enqueue_in(timedelta(seconds=1), report)],
    "Queue.enqueue_many": lambda queue: queue.enqueue_many([queue.prepare_data(report, ("a",))]),
    "unique": lambda queue: [report.options(unique=True, job_id="unique").enqueue()],
    "retry": lambda queue: [flaky.options(retry=Retry(max=1)).enqueue()],
    "returned retry": lambda queue: [come_back.enqueue()],
    "requeue": lambda queue: [flaky.options(job_id="requeued").enqueue()],
    "repeat": lambda queue: [report.options(repeat=Repeat(times=1, interval=1)).enqueue()],
    "depends_on": lambda queue: [report.options(depends_on=report.enqueue()).enqueue()],
    "from a job": lambda queue: [nest.enqueue()],
    "failing": lambda queue: [fail.options(on_failure=Callback(app_module.on_failure)).enqueue()],
    "callback": lambda queue: [report.options(on_success=Callback(app_module.on_success)).enqueue()],
}


def main() -> None:
    app = create_app()
    record = {}
    with Redis.from_url(os.environ["CTXJOBS_REDIS_URL"]) as connection:
        queue = Queue("default", connection=connection)
        for name, enqueue in WAYS.items():
            with app.test_request_context("/"), view(name):
                record[name] = {**here(), "jobs": [job.id for job in enqueue(queue)]}
    sentry_sdk.flush()
    Path(sys.argv[1]).write_text(json.dumps(record))


if __name__ == "__main__":
    main()
