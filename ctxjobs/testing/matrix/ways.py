"""The ways that a job can take, each as a function of the stage; what becomes of it stands beside.

May import the public floors of ctxjobs and RQ. A way is played by
:class:`ctxjobs.testing.PropagationMatrix`, in the contexts that it says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any, Final, Literal

from rq import Callback, Repeat, Retry
from rq.timeouts import UnixSignalDeathPenalty

from ctxjobs.cron import CronScheduler
from ctxjobs.executor import ContextExecutor
from ctxjobs.hosts import active_hosts
from ctxjobs.propagators import commit_session
from ctxjobs.testing.matrix import jobs
from ctxjobs.testing.matrix.stage import QUEUE, Stage

#: How one run ends: what its teardown gets.
End = Literal["returns", "raises"]


@dataclass(frozen=True)
class Way:
    """One way.

    Attributes:
        act: Enqueues, inside the state that is to be carried.
        finish: Does what is left once the caller's contexts are gone; runs the worker, as a rule.
        ends: How each run of a function or a callback ends, in order.
        enqueues: Whether jobs come of it, in Redis.
        inline: Whether the app is in inline mode.
        carries: Whether the state travels; if not, the job has the app's system context.
    """

    act: Callable[[Stage], Any]
    finish: Callable[[Stage], Any] = Stage.work
    ends: Sequence[End] = ("returns",)
    enqueues: bool = True
    inline: bool = False
    carries: bool = True


def _call(stage: Stage) -> None:
    jobs.report()


def _submit(stage: Stage) -> None:
    with stage.as_who("thread"), ContextExecutor() as executor:
        executor.submit(stage.note, "run").result()


def _in_a_queue_call(stage: Stage) -> None:
    stage.queue().enqueue(jobs.report)


def _many(stage: Stage) -> None:
    _report().enqueue_many([(), ()])


def _dependents(stage: Stage) -> None:
    _report().options(depends_on=_report().enqueue()).enqueue()


def _after_commit(stage: Stage) -> None:
    sessions = (commit_session(host) for host, _ in active_hosts())
    session = next((session for session in sessions if session is not None), None)
    if session is None:
        from unittest import SkipTest  # what pytest takes for a skip; nobody else needs to load it

        raise SkipTest("the app has no database session whose commit a job could wait for")
    _report(after="commit").enqueue()
    session.commit()


def _by_cron(stage: Stage) -> None:
    cron = CronScheduler(stage.connection, "ERROR", app=stage.app())
    cron.register(jobs.report, QUEUE, interval=60)
    cron.enqueue_jobs()


def _requeue(stage: Stage) -> None:
    stage.work()
    [job_id] = stage.queue().failed_job_registry.get_job_ids()
    stage.fetch(job_id).requeue()
    stage.work()


def _stop(stage: Stage) -> None:
    """Do what RQ's worker does with a job that it has stopped."""
    [job_id] = stage.queue().get_job_ids()
    job: Any = stage.fetch(job_id)
    job.execute_stopped_callback(UnixSignalDeathPenalty)
    job.delete()


def _report(**options: Any) -> Any:
    return jobs.report.options(queue=QUEUE, **options)


_callback: Final = Callback(jobs.callback)

#: All of them by name.
WAYS: Final[dict[str, Way]] = {
    "enqueue": Way(lambda stage: _report().enqueue()),
    "queue_enqueue": Way(_in_a_queue_call),
    "call": Way(_call, enqueues=False),
    "enqueue_at": Way(lambda stage: _report().enqueue_at(datetime.now(timezone.utc))),
    "enqueue_in": Way(lambda stage: _report().enqueue_in(0)),
    "enqueue_many": Way(_many, ends=("returns", "returns")),
    "after_commit": Way(_after_commit),
    "cron": Way(_by_cron, carries=False),
    "failing": Way(lambda stage: jobs.fail.options(queue=QUEUE).enqueue(), ends=("raises",)),
    "repeat": Way(lambda stage: _report(repeat=Repeat(times=1)).enqueue(), ends=("returns", "returns")),
    "automatic_retry": Way(
        lambda stage: jobs.fail_once.options(queue=QUEUE, retry=Retry(max=1)).enqueue(),
        ends=("raises", "returns"),
    ),
    "returned_retry": Way(
        lambda stage: jobs.come_back.options(queue=QUEUE).enqueue(), ends=("returns", "returns")
    ),
    "requeue": Way(
        lambda stage: jobs.fail_once.options(queue=QUEUE).enqueue(), _requeue, ends=("raises", "returns")
    ),
    "dependents": Way(_dependents, ends=("returns", "returns")),
    "success_callback": Way(
        lambda stage: _report(on_success=_callback).enqueue(), ends=("returns", "returns")
    ),
    "failure_callback": Way(
        lambda stage: jobs.fail.options(queue=QUEUE, on_failure=_callback).enqueue(),
        ends=("raises", "returns"),
    ),
    "stopped_callback": Way(lambda stage: _report(on_stopped=_callback).enqueue(), _stop),
    "stock_worker": Way(lambda stage: _report().enqueue(), partial(Stage.work, stock=True)),
    "inline": Way(lambda stage: _report().enqueue(), inline=True),
    "inline_retry_and_callback": Way(
        lambda stage: jobs.fail_once.options(retry=Retry(max=1), on_success=_callback).enqueue(),
        ends=("raises", "returns", "returns"),
        inline=True,
    ),
    "thread": Way(_submit, enqueues=False),
}
