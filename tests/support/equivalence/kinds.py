"""The kinds of job that are compared: each enqueues its jobs, on queues and under ids of its own.

May import RQ and the functions; knows no worker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from redis import Redis
from rq import Callback, Queue, Repeat, Retry, Webhook
from rq.group import Group
from rq.job import Dependency, Job
from support import depot
from support.equivalence import functions as f


class Enqueuer:
    """Enqueues the jobs of one kind.

    Args:
        connection: Redis.
        code: The kind's queue; its ids begin with that.
        url: An HTTP server that takes note of what it gets.
        serializer: Name of the queue's serializer, in RQ.
    """

    def __init__(self, connection: Redis, code: str, url: str, serializer: str) -> None:
        self.connection, self.code, self.url = connection, code, url
        self.queue = Queue(code, connection=connection, serializer=serializer)
        self.count = 0

    def __call__(self, function: Any, *args: Any, **options: Any) -> Job:
        options.setdefault("job_id", self.next_id())
        return self.queue.enqueue(function, *args, **options)

    def next_id(self) -> str:
        self.count += 1
        return f"{self.code}-{self.count}"


Kind = Callable[[Enqueuer], object]


def _dependency(enqueue: Enqueuer, function: Any, *, allow_failure: bool = False, **options: Any) -> None:
    parent = enqueue(function, **options)
    enqueue(f.nothing, depends_on=Dependency([parent], allow_failure=allow_failure))


def _two_queues(enqueue: Enqueuer) -> None:
    parents = [enqueue(f.value), enqueue(f.value)]
    other = Queue(f"{enqueue.code}-other", connection=enqueue.connection)
    other.enqueue(f.nothing, depends_on=parents, job_id=enqueue.next_id())


def _group(enqueue: Enqueuer) -> None:
    options = {"timeout": 60, "result_ttl": None, "ttl": None, "failure_ttl": None}
    jobs = [
        Queue.prepare_data(function, job_id=enqueue.next_id(), **options) for function in (f.value, f.boom)
    ]
    Group(connection=enqueue.connection, name=f"{enqueue.code}-group").enqueue_many(enqueue.queue, jobs)


def _webhook(enqueue: Enqueuer, function: Any, **options: Any) -> None:
    hooks = [Webhook(enqueue.url, status, method="POST") for status in ("finished", "failed")]
    enqueue(function, webhooks=hooks, **options)


def _many(enqueue: Enqueuer) -> None:
    for _ in range(50):
        enqueue(f.value)


def _at_front(enqueue: Enqueuer) -> None:
    enqueue(f.looks)
    enqueue(f.looks, at_front=True)


def _expired_in_queue(enqueue: Enqueuer) -> None:
    enqueue(f.nothing).delete(remove_from_queue=False)
    enqueue(f.nothing)


def _no_such_function(enqueue: Enqueuer) -> None:
    enqueue("support.equivalence.functions.no_such_function")


def _in_context(enqueue: Enqueuer, job: Any, **options: Any) -> None:
    job.options(queue=enqueue.code, job_id=enqueue.next_id(), **options).enqueue("x")


#: The jobs of these end the process that runs them: in our worker without a supervisor that is the worker.
KILLING: Final = ("killed", "killed with a retry", "killed with a dependent", "killed with a callback")

#: What is also run with JSON in the place of pickle.
WITH_JSON: Final = (
    "success", "value", "unserializable", "failure", "retry", "repeat", "text of all kinds", "meta saved",
    "success callback", "dependency met", "returned Retry", "result not kept",
)  # fmt: skip

KINDS: Final[dict[str, Kind]] = {
    "success": lambda enqueue: enqueue(f.nothing),
    "value": lambda enqueue: enqueue(f.value),
    "coroutine": lambda enqueue: enqueue(f.coroutine),
    "method": lambda enqueue: enqueue(f.Counter(40).add, 2),
    "unserializable": lambda enqueue: enqueue(f.unserializable),
    "many": _many,
    "result_ttl": lambda enqueue: enqueue(f.value, result_ttl=100),
    "result for ever": lambda enqueue: enqueue(f.value, result_ttl=-1),
    "result not kept": lambda enqueue: enqueue(f.value, result_ttl=0),
    "ttl": lambda enqueue: enqueue(f.value, ttl=100),
    "failure": lambda enqueue: enqueue(f.boom),
    "failure_ttl": lambda enqueue: enqueue(f.boom, failure_ttl=100),
    "failure for ever": lambda enqueue: enqueue(f.boom, failure_ttl=-1),
    "failure not kept": lambda enqueue: enqueue(f.boom, failure_ttl=0),
    "SystemExit": lambda enqueue: enqueue(f.exits),
    "timeout": lambda enqueue: enqueue(f.sleeps, job_timeout=1),
    "no such function": _no_such_function,
    "expired in the queue": _expired_in_queue,
    "retry": lambda enqueue: enqueue(f.boom, retry=Retry(max=2)),
    "retry with interval": lambda enqueue: enqueue(f.boom, retry=Retry(max=2, interval=[60, 600])),
    "retry at front": lambda enqueue: enqueue(f.boom, retry=Retry(max=1, enqueue_at_front=True)),
    "retry not needed": lambda enqueue: enqueue(f.value, retry=Retry(max=2, interval=60)),
    "returned Retry": lambda enqueue: enqueue(f.retry_once),
    "returned Retry with interval": lambda enqueue: enqueue(f.retry, max=3, interval=60),
    "returned Retry exceeded": lambda enqueue: enqueue(f.retry, max=2, failure_ttl=100),
    "success callback": lambda enqueue: enqueue(f.value, on_success=Callback(f.on_success)),
    "failure callback": lambda enqueue: enqueue(f.boom, on_failure=Callback(f.on_failure)),
    "raising success callback": lambda enqueue: enqueue(
        f.value, on_success=Callback(f.on_any_raising), on_failure=Callback(f.on_failure)
    ),
    "raising failure callback": lambda enqueue: enqueue(f.boom, on_failure=Callback(f.on_any_raising)),
    "retried failure callback": lambda enqueue: enqueue(
        f.boom, retry=Retry(max=1), on_failure=Callback(f.on_failure)
    ),
    "repeat": lambda enqueue: enqueue(f.value, repeat=Repeat(times=2)),
    "repeat with interval": lambda enqueue: enqueue(f.value, repeat=Repeat(times=2, interval=60)),
    "repeat of a failure": lambda enqueue: enqueue(f.boom, repeat=Repeat(times=2)),
    "dependency met": lambda enqueue: _dependency(enqueue, f.value),
    "dependency on a failed job": lambda enqueue: _dependency(enqueue, f.boom),
    "dependency that allows failure": lambda enqueue: _dependency(enqueue, f.boom, allow_failure=True),
    "dependency on a retried job": lambda enqueue: _dependency(
        enqueue, f.boom, allow_failure=True, retry=Retry(max=1)
    ),
    "dependency on a job not kept": lambda enqueue: _dependency(enqueue, f.value, result_ttl=0),
    "dependent of its own making": lambda enqueue: enqueue(f.enqueues_dependent),
    "two queues": _two_queues,
    "meta": lambda enqueue: enqueue(f.value, meta={"by": "us"}),
    "meta saved": lambda enqueue: enqueue(f.saves_meta, meta={"by": "us"}),
    "meta changed": lambda enqueue: enqueue(f.changes_meta, meta={"by": "us"}),
    "description changed": lambda enqueue: enqueue(f.describes),
    "result_ttl changed": lambda enqueue: enqueue(f.keeps_longer),
    "failure_ttl changed": lambda enqueue: enqueue(f.fails_and_keeps_longer),
    "group": _group,
    "webhook": lambda enqueue: _webhook(enqueue, f.value),
    "webhook of a failure": lambda enqueue: _webhook(enqueue, f.boom),
    "webhook of a retried failure": lambda enqueue: _webhook(enqueue, f.boom, retry=Retry(max=1)),
    "cancelled while it runs": lambda enqueue: enqueue(f.cancels_itself),
    "deleted while it runs": lambda enqueue: enqueue(f.deletes_itself),
    "deleted while it runs, and fails": lambda enqueue: enqueue(f.deletes_itself_and_fails),
    "at_front": _at_front,
    "text of all kinds": lambda enqueue: enqueue(
        f.same,
        "größe 日本語",
        job_id=f"{enqueue.code}-Aa_0-",
        description="größe 日本語",
        meta={"größe": "日本語"},
    ),
    "looks": lambda enqueue: enqueue(f.looks),
    "looks and fails": lambda enqueue: enqueue(f.looks_and_fails, retry=Retry(max=1)),
    "looks, with time limit": lambda enqueue: enqueue(f.looks, job_timeout=100),
    "looks, with a short time limit": lambda enqueue: enqueue(f.looks, job_timeout=20),
    "looks, without time limit": lambda enqueue: enqueue(f.looks, job_timeout=-1),
    "looks, with ttl": lambda enqueue: enqueue(f.looks, ttl=100),
    "ours": lambda enqueue: _in_context(enqueue, depot.note),
    "ours fails": lambda enqueue: _in_context(enqueue, depot.fail),
    "ours is retried": lambda enqueue: _in_context(enqueue, depot.fail, retry=Retry(max=1)),
    "stopped": lambda enqueue: enqueue(f.stopped),
    "stopped callback": lambda enqueue: enqueue(f.stopped, on_stopped=Callback(f.on_stopped)),
    "stopped with a retry": lambda enqueue: enqueue(f.stopped, retry=Retry(max=1)),
    "stopped with a dependent": lambda enqueue: _dependency(enqueue, f.stopped, allow_failure=True),
    "kill-horse": lambda enqueue: enqueue(f.killed_by_command),
    "killed": lambda enqueue: enqueue(f.killed),
    "killed with a retry": lambda enqueue: enqueue(f.killed, retry=Retry(max=1)),
    "killed with a dependent": lambda enqueue: _dependency(enqueue, f.killed, allow_failure=True),
    "killed with a callback": lambda enqueue: enqueue(f.killed, on_failure=Callback(f.on_failure)),
}
CODES: Final = {kind: f"k{number:02}" for number, kind in enumerate(KINDS)}
