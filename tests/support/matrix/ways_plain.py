"""Ways to enqueue with our own API, without options; and the jobs that leave something behind.

Each function is one way, and runs where its ``Way`` says.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from rq.job import Job
from support.matrix import jobs
from support.matrix.way import SECOND_TRY, Desk, in_seconds, way

# The first four are on a queue of their own, which is emptied first, so that they run one after the other.


@way(tidy=False)
def polluter(desk: Desk) -> Iterable[Job]:
    return [jobs.pollute.options(queue="leaks").enqueue(False)]


@way()
def after_polluter(desk: Desk) -> Iterable[Job]:
    return [jobs.report.options(queue="leaks").enqueue()]


@way(tidy=False, runs=("raises",))
def failing_polluter(desk: Desk) -> Iterable[Job]:
    return [jobs.pollute.options(queue="leaks").enqueue(True)]


@way(where="nowhere")
def system_after_polluter(desk: Desk) -> Iterable[Job]:
    return [desk.bound.options(queue="leaks").enqueue()]


@way()
def enqueue(desk: Desk) -> Iterable[Job]:
    return [jobs.report.enqueue("positional"), jobs.report.enqueue(label="by name")]


@way()
def enqueue_in(desk: Desk) -> Iterable[Job]:
    return [jobs.report.enqueue_in(1), jobs.report.enqueue_in(timedelta(seconds=1))]


@way()
def enqueue_at(desk: Desk) -> Iterable[Job]:
    naive = datetime.now() + timedelta(seconds=1)
    return [jobs.report.enqueue_at(in_seconds(1)), jobs.report.enqueue_at(naive)]


@way()
def enqueue_many(desk: Desk) -> Iterable[Job]:
    return jobs.report.enqueue_many([("a",), {"label": "b"}, ()])


@way(runs=("raises",))
def failing(desk: Desk) -> Iterable[Job]:
    return [jobs.fail.enqueue("as it should")]


@way()
def coroutine(desk: Desk) -> Iterable[Job]:
    return [jobs.report_async.enqueue("async")]


@way()
def nested(desk: Desk) -> Iterable[Job]:
    return [jobs.nest.enqueue(2)]


@way()
def bound(desk: Desk) -> Iterable[Job]:
    return [desk.bound.enqueue()]


@way(where="app")
def app_context_only(desk: Desk) -> Iterable[Job]:
    return [jobs.report.enqueue(), desk.bound.enqueue()]


@way(where="nowhere")
def outside(desk: Desk) -> Iterable[Job]:
    return [desk.bound.enqueue(), desk.bound.enqueue_in(1), *desk.bound.enqueue_many([("many",)])]


@way(runs=SECOND_TRY, requeue="rq requeue")
def requeued_by_command(desk: Desk) -> Iterable[Job]:
    return [jobs.flaky.enqueue()]


@way(runs=SECOND_TRY, requeue="Job.requeue")
def requeued_by_job(desk: Desk) -> Iterable[Job]:
    return [jobs.flaky.enqueue()]
