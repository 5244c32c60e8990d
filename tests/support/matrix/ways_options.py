"""Ways to enqueue with our own API, with the options that are RQ's.

Each function is one way, and runs in a view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from rq import Callback, Repeat, Retry
from rq.exceptions import DuplicateJobError
from rq.group import Group
from rq.job import Dependency, Job
from rq.webhook import Webhook
from support.matrix import jobs
from support.matrix.way import SECOND_TRY, TWICE, Desk, way

import ctxjobs


@way()
def at_front(desk: Desk) -> Iterable[Job]:
    return [jobs.report.options(at_front=True).enqueue()]


@way()
def unique(desk: Desk) -> Iterable[Job]:
    once = jobs.report.options(unique=True, job_id="unique")
    first = once.enqueue()
    desk.notes["second"] = _error(once.enqueue)
    return [first]


@way()
def unique_in(desk: Desk) -> Iterable[Job]:
    once = jobs.report.options(unique=True, job_id="unique-in")
    first = once.enqueue_in(1)
    desk.notes["second"] = _error(lambda: once.enqueue_in(1))
    return [first]


def _error(call: Callable[[], Any]) -> type | None:
    try:
        call()
    except DuplicateJobError as exc:
        return type(exc)
    return None


@way()
def parent(desk: Desk) -> Iterable[Job]:
    return [jobs.report.options(job_id="parent").enqueue()]


@way()
def depends_on(desk: Desk) -> Iterable[Job]:
    after_parent = ctxjobs.ContextJob.fetch("parent", connection=desk.connection)
    return [
        jobs.report.options(depends_on="parent").enqueue(),
        jobs.report.options(depends_on=after_parent).enqueue(),
        jobs.report.options(depends_on=Dependency(["parent"])).enqueue(),
        *jobs.report.options(depends_on="parent").enqueue_many([("many",)]),
    ]


@way(runs=SECOND_TRY)
def retry(desk: Desk) -> Iterable[Job]:
    return [jobs.flaky.options(retry=Retry(max=1)).enqueue()]


@way(runs=SECOND_TRY)
def retry_with_interval(desk: Desk) -> Iterable[Job]:
    return [jobs.flaky.options(retry=Retry(max=2, interval=[1, 1])).enqueue()]


@way(runs=TWICE)
def returned_retry(desk: Desk) -> Iterable[Job]:
    return [jobs.comeback.enqueue(0), jobs.comeback.enqueue(1)]


@way(runs=TWICE)
def repeat(desk: Desk) -> Iterable[Job]:
    return [
        jobs.report.options(repeat=Repeat(times=1)).enqueue(),
        jobs.report.options(repeat=Repeat(times=1, interval=1)).enqueue(),
    ]


@way()
def group(desk: Desk) -> Iterable[Job]:
    members = jobs.report.options(group=Group.create(desk.connection, "group"))
    return [members.enqueue(), *members.enqueue_many([("a",), ("b",)])]


@way()
def success_callback(desk: Desk) -> Iterable[Job]:
    by_name = Callback(f"{jobs.__name__}.on_success")
    return [
        jobs.report.options(on_success=Callback(jobs.on_success)).enqueue(),
        jobs.report.options(on_success=by_name, on_failure=Callback(jobs.on_failure)).enqueue(),
    ]


@way(runs=("raises",))
def failure_callback(desk: Desk) -> Iterable[Job]:
    called = {"on_success": Callback(jobs.on_success), "on_failure": Callback(jobs.on_failure)}
    return [jobs.fail.options(**called).enqueue("callback")]


@way()
def pipeline(desk: Desk) -> Iterable[Job]:
    with desk.connection.pipeline() as pipe:
        piped = jobs.report.options(pipeline=pipe)
        made = [piped.enqueue(), piped.enqueue_in(1), *piped.enqueue_many([("many",)])]
        desk.notes["before"] = [desk.connection.exists(job.key) for job in made]
        pipe.execute()
    desk.notes["after"] = [desk.connection.exists(job.key) for job in made]
    return made


@way()
def webhook(desk: Desk) -> Iterable[Job]:
    hooks = [Webhook(f"{desk.hook_url}/{status}", status, method="POST") for status in ("finished", "failed")]
    return [jobs.report.options(webhooks=hooks).enqueue()]


@way(runs=("raises",))
def failed_webhook(desk: Desk) -> Iterable[Job]:
    hooks = [Webhook(f"{desk.hook_url}/{status}", status, method="POST") for status in ("finished", "failed")]
    return [jobs.fail.options(webhooks=hooks).enqueue()]


@way(runs=SECOND_TRY)
def webhook_after_retry(desk: Desk) -> Iterable[Job]:
    hooks = [Webhook(f"{desk.hook_url}/again", "finished", method="POST", headers={"X-Way": "retry"})]
    return [jobs.flaky.options(webhooks=hooks, retry=Retry(max=1)).enqueue()]


@way()
def meta(desk: Desk) -> Iterable[Job]:
    return [jobs.report.options(meta={"price": Decimal("1.50"), "tags": ("a", 1)}).enqueue()]


@way(runs=SECOND_TRY)
def meta_from_the_job(desk: Desk) -> Iterable[Job]:
    return [jobs.count_in_meta.options(meta={"runs": (0,)}, retry=Retry(max=1)).enqueue()]


@way(runs=("raises",), error="JobTimeoutException(")
def timeout(desk: Desk) -> Iterable[Job]:
    return [jobs.hang.options(timeout=1).enqueue()]


@way(runs=SECOND_TRY)
def all_at_once(desk: Desk) -> Iterable[Job]:
    options = jobs.flaky.options(
        retry=Retry(max=1, interval=1),
        on_success=Callback(jobs.on_success, timeout=20),
        on_failure=Callback(jobs.on_failure, timeout=20),
        webhooks=[Webhook(f"{desk.hook_url}/all", "finished", method="POST")],
        meta={"tags": ("a",)},
        timeout=30,
        result_ttl=90,
        job_id="all",
        unique=True,
    )
    return [options.enqueue_in(1)]


@way()
def lifetimes(desk: Desk) -> Iterable[Job]:
    return [jobs.report.options(timeout=66, result_ttl=77, ttl=88, failure_ttl=99).enqueue()]


@way(runs=("raises",))
def failure_ttl(desk: Desk) -> Iterable[Job]:
    return [jobs.fail.options(failure_ttl=99).enqueue()]


@way()
def result_ttl_of_zero(desk: Desk) -> Iterable[Job]:
    return [jobs.report.options(result_ttl=0).enqueue()]


@way()
def description(desk: Desk) -> Iterable[Job]:
    return [jobs.report.options(description="a line of the caller's").enqueue("an argument")]


@way()
def other_queue(desk: Desk) -> Iterable[Job]:
    return [jobs.report.options(queue="other").enqueue()]


@way()
def decorated(desk: Desk) -> Iterable[Job]:
    return [jobs.report_as_decorated.enqueue(), jobs.report_as_decorated.options(queue="default").enqueue()]
