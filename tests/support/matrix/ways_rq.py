"""Ways to enqueue with RQ's own API, over ``ctxjobs.Queue``.

Each function is one way, and runs in a view.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from rq import Retry
from rq.group import Group
from rq.job import Job
from support.matrix import jobs
from support.matrix.way import SECOND_TRY, Desk, in_seconds, way


@way()
def queue_enqueue(desk: Desk) -> Iterable[Job]:
    queue = desk.queue()
    return [
        queue.enqueue(jobs.report, "positional"),
        queue.enqueue(jobs.report, label="by name", job_timeout=30, result_ttl=60),
        queue.enqueue(jobs.report, args=("explicit",), kwargs={}),
    ]


@way()
def queue_by_path(desk: Desk) -> Iterable[Job]:
    return [desk.queue().enqueue(f"{jobs.__name__}.report", "by path")]


@way()
def queue_enqueue_call(desk: Desk) -> Iterable[Job]:
    return [desk.queue().enqueue_call(jobs.report, args=("call",), timeout=30)]


@way()
def queue_enqueue_at(desk: Desk) -> Iterable[Job]:
    return [desk.queue().enqueue_at(in_seconds(1), jobs.report, "at")]


@way()
def queue_enqueue_in(desk: Desk) -> Iterable[Job]:
    return [desk.queue().enqueue_in(timedelta(seconds=1), jobs.report, "in")]


@way()
def queue_enqueue_many(desk: Desk) -> Iterable[Job]:
    queue = desk.queue()
    data = [queue.prepare_data(jobs.report, (label,)) for label in ("a", "b")]
    return queue.enqueue_many([*data, queue.prepare_data(jobs.report, ("c",), depends_on="parent")])


@way()
def group_enqueue_many(desk: Desk) -> Iterable[Job]:
    queue = desk.queue()
    data = [queue.prepare_data(jobs.report, (label,)) for label in ("a", "b")]
    return Group.create(desk.connection, "rq-group").enqueue_many(queue, data)


@way()
def queue_enqueue_job(desk: Desk) -> Iterable[Job]:
    queue = desk.queue()
    return [queue.enqueue_job(queue.create_job(jobs.report, ("made first",)))]


@way(runs=SECOND_TRY)
def queue_retry(desk: Desk) -> Iterable[Job]:
    return [desk.queue().enqueue(jobs.flaky, retry=Retry(max=1))]


@way()
def queue_sync(desk: Desk) -> Iterable[Job]:
    return [desk.queue(is_async=False).enqueue(jobs.report, "at once")]


@way(runs=("raises",))
def queue_sync_failing(desk: Desk) -> Iterable[Job]:
    return [desk.queue(is_async=False).enqueue(jobs.fail, "at once")]
