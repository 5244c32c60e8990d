"""When a job is pushed: at once, when a transaction is committed, or when a response was sent.

The job is made at the call, with its snapshot and its arguments; only the push waits. May import the floor
of RQ's jobs and below; imports neither SQLAlchemy nor a framework.
"""

from __future__ import annotations

import copy
import logging
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

from redis import Redis
from rq.job import Job
from werkzeug.wsgi import ClosingIterator

from ctxjobs.connection import connection_of, translated
from ctxjobs.errors import ConfigError, RedisUnavailableError
from ctxjobs.hosts import host_for
from ctxjobs.propagators import commit_session
from ctxjobs.registry import BoundApp
from ctxjobs.rqjob import Queue
from ctxjobs.running import cv_job

_log = logging.getLogger("ctxjobs")

#: When a job is pushed, in :meth:`ctxjobs.jobs.Enqueuer.options`.
After = Literal["now", "commit", "response"]


@dataclass(slots=True)
class Push:
    """A job that was made, and is to be pushed.

    Attributes:
        job: The job.
        app: Its app.
        call: Pushes it.
        transaction: The transaction, of SQLAlchemy, that must be committed first; None means any.
    """

    job: Job
    app: BoundApp
    call: Callable[[], Any]
    transaction: Any = None


class WaitingQueue(Queue):
    """A queue whose jobs are made now and pushed later.

    Args:
        app: The app of its jobs.
        hold: Takes each job, to push it when its time has come.
        name: The queue's name.
    """

    def __init__(self, app: BoundApp, hold: Callable[[Push], None], name: str) -> None:
        super().__init__(name, connection=connection_of(app))
        self._app = app
        self._hold = hold
        self._queue = Queue(name, connection=self.connection)  # pushes; unlike this one, it holds nothing

    def enqueue_job(self, job: Any, *args: Any, **options: Any) -> Any:
        """As RQ's, later."""
        return self._later(job, partial(self._queue.enqueue_job, job, *args, **options))

    def schedule_job(self, job: Any, *args: Any, **options: Any) -> Any:
        """As ours, later; the job is due when it was to be due."""
        return self._later(job, partial(self._queue.schedule_job, job, *args, **options))

    def enqueue_many(self, job_datas: Iterable[Any], *args: Any, **options: Any) -> list[Any]:
        """One job after the other, in their order."""
        return [self.enqueue_call(**data._asdict()) for data in job_datas]

    def enqueue_jobs(self, jobs: Iterable[Any], at_front: bool = False) -> list[Any]:
        """One job after the other, in their order."""
        return [self.enqueue_job(job, at_front=at_front) for job in list(jobs)]

    def _later(self, job: Job, call: Callable[[], Any]) -> Job:
        job.meta = copy.deepcopy(job.meta)  # the arguments are bytes since the job was made; this is not
        self._hold(Push(job, self._app, call))
        return job


def queue_for(app: BoundApp, name: str, options: Mapping[str, Any], connection: Redis | None = None) -> Queue:
    """The queue for jobs of *app* that are enqueued with *options*.

    Args:
        app: Their app.
        name: The queue's name.
        options: As for :meth:`ctxjobs.jobs.Enqueuer.options`; ``after``, ``pipeline`` and ``group`` are read.
        connection: Redis, for jobs that wait for nothing; None means that of the app.

    Raises:
        ConfigError: There is nothing to wait for, or *options* do not go together.
    """
    after: After = options.get("after", "now")
    if after == "now":
        if connection is None and app.memory is None:
            return _queue(name, connection_of(app))
        return Queue(name, connection=connection_of(app) if connection is None else connection)
    if after not in _HOLDERS:
        raise ConfigError("options(after=...)", f"expected 'now', 'commit' or 'response', got {after!r}.")
    for option in ("pipeline", "group"):
        if options.get(option) is not None:
            raise ConfigError(
                f"options(after={after!r}, {option}=...)", f"do not go together; leave out after or {option}."
            )
    return WaitingQueue(app, _HOLDERS[after](app), name)


@lru_cache(maxsize=256)
def _queue(name: str, connection: Redis) -> Queue:
    """The queues of connections that live as long as the process; they know nothing of their jobs."""
    return Queue(name, connection=connection)


def push_all(waiting: Sequence[Push]) -> None:
    """Push each of *waiting*, in their order; an error does not keep the others from being tried.

    Raises:
        RedisUnavailableError: Redis is away; nothing was pushed from then on.
        Exception: What RQ raised first.
    """
    errors: list[Exception] = []
    away: RedisUnavailableError | None = None
    for push in waiting:
        try:
            if away is not None:  # every further attempt would wait for it again
                raise away
            with translated(push.app):
                push.call()
        except Exception as exc:  # noqa: BLE001, PERF203 - logged here, and raised below
            _log.error("job %s (%s) was not enqueued: %s", push.job.id, push.job.func_name, exc)
            errors.append(exc)
            away = exc if isinstance(exc, RedisUnavailableError) else None
    if errors:
        raise errors[0]


def drop(waiting: Sequence[Push], reason: str) -> None:
    """Say that *waiting* are never pushed, and why."""
    for push in waiting:
        _log.warning("job %s (%s) was not enqueued: %s", push.job.id, push.job.func_name, reason)


# --- after the commit -----------------------------------------------------------------------


class CommitLine:
    """Jobs that wait for one session of SQLAlchemy to commit.

    They are pushed when its outermost transaction has ended, not in ``after_commit``: only then is the
    session in order again, so that an error of a push can be raised from ``commit()``, and the session used
    further.

    Args:
        session: The session; not kept, because it keeps this one.
    """

    def __init__(self, session: Any) -> None:
        self._waiting: list[Push] = []
        self._committed: Any = None
        listen = sys.modules["sqlalchemy"].event.listen
        listen(session, "after_commit", self._note_commit)
        listen(session, "after_transaction_end", self._end)
        weakref.finalize(session, self._drop, "its session was thrown away without a commit")

    def add(self, session: Any, push: Push) -> None:
        """Let *push* wait for the transactions that are open now."""
        push.transaction = _innermost(session)
        self._waiting.append(push)

    def _note_commit(self, session: Any) -> None:
        self._committed = _innermost(session)

    def _end(self, session: Any, transaction: Any) -> None:
        committed = self._committed is transaction
        if transaction.nested:
            self._end_savepoint(transaction, committed)
        elif transaction.parent is not None:
            return  # a part that SQLAlchemy made for itself, such as that of a flush
        elif committed:
            self._committed, waiting, self._waiting = None, self._waiting, []
            push_all(waiting)
        else:
            self._drop("the transaction that it waited for was not committed")

    def _end_savepoint(self, transaction: Any, committed: bool) -> None:
        inside = [push for push in self._waiting if push.transaction is transaction]
        if committed:
            for push in inside:
                push.transaction = transaction.parent
        else:
            self._waiting = [push for push in self._waiting if push.transaction is not transaction]
            drop(inside, "the savepoint in which it was enqueued was rolled back")

    def _drop(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, []
        drop(waiting, reason)


def _innermost(session: Any) -> Any:
    return session.get_nested_transaction() or session.get_transaction()


def _until_commit(app: BoundApp) -> Callable[[Push], None]:
    session = commit_session(app.host)
    if session is None:
        raise ConfigError(
            "options(after='commit')",
            f"there is no database session here for app {app.id!r}. Enqueue inside a context of the app, if "
            "it uses Flask-SQLAlchemy; else call register_propagator(SQLAlchemyPropagator(session)) with its "
            "scoped_session.",
        )
    line = session.info.get(_LINE)
    if line is None:
        line = session.info[_LINE] = CommitLine(session)
    return partial(line.add, session)


#: Where a session keeps its line, in ``Session.info``.
_LINE: Final = "ctxjobs.timing"

# --- after the response ---------------------------------------------------------------------

#: Jobs that wait for the response to a request, by the request.
_responses: WeakKeyDictionary[Any, list[Push]] = WeakKeyDictionary()


def _until_response(app: BoundApp) -> Callable[[Push], None]:
    active = app.host.active()
    if active is None or active.request_context is None or cv_job.get(None) is not None:
        raise ConfigError(
            "options(after='response')",
            "no request is being answered here. Leave after out, or enqueue in a view.",
        )
    answered, failed = app.host.response_signals()
    answered.connect(_answered)  # a second time changes nothing
    failed.connect(_failed)
    request = active.request_context.request
    if request not in _responses:
        waiting = _responses[request] = []
        weakref.finalize(request, drop, waiting, "its request ended without a response")
    return _responses[request].append


def _answered(sender: Any, response: Any, **_: Any) -> None:
    if not (waiting := _taken(sender)):
        return
    push = partial(_push_after_response, waiting)
    if response.direct_passthrough:  # then the server closes the body, and nobody the response
        response.response = ClosingIterator(response.response, push)
    else:
        response.call_on_close(push)


def _failed(sender: Any, **_: Any) -> None:
    drop(_taken(sender), "an exception that nothing handled ended its request")


def _taken(sender: Any) -> list[Push]:
    active = host_for(sender).active()
    if active is None or active.request_context is None:
        return []
    waiting = _responses.get(active.request_context.request, [])
    taken = list(waiting)
    waiting.clear()
    return taken


def _push_after_response(waiting: Sequence[Push]) -> None:
    try:
        push_all(waiting)
    except Exception:  # noqa: BLE001 - it is logged, and there is nobody any more to raise it to
        return


_HOLDERS: Final[Mapping[str, Callable[[BoundApp], Callable[[Push], None]]]] = {
    "commit": _until_commit,
    "response": _until_response,
}
