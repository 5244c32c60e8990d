"""Jobs that cannot be enqueued, and those that a policy drops. Imports the families only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ctxjobs.errors.root import CallerError, DeploymentError, StoredDataError


@dataclass(eq=False, repr=False)
class UnboundJobError(CallerError, RuntimeError):
    """A job was enqueued, and nothing says for which app.

    Attributes:
        function: Dotted name of the job's function.
        reason: What is missing.
    """

    function: str
    reason: str
    template: ClassVar[str] = (
        "Job {function} cannot be enqueued: {reason}. Push a context ('with app.app_context(): ...'), or "
        "bind the job to its app: 'jobs = CtxJobs(app)' and '@jobs.job' instead of '@job'."
    )


@dataclass(eq=False, repr=False)
class NotAJobError(CallerError, TypeError):
    """A function cannot be a job, or was enqueued without being one.

    Attributes:
        function: What was given.
        reason: Why it cannot run as a job.
        advice: What to do instead.
    """

    function: str
    reason: str
    advice: str
    template: ClassVar[str] = "{function} cannot be a job: {reason}. {advice}"


@dataclass(eq=False, repr=False)
class ArgumentsError(CallerError, TypeError):
    """A job was enqueued with arguments that its function does not take.

    Attributes:
        function: Its dotted name.
        reason: What Python says of them.
    """

    function: str
    reason: str
    template: ClassVar[str] = "{function} cannot be enqueued: {reason}. Pass the arguments that it takes."


@dataclass(eq=False, repr=False)
class HopLimitError(CallerError, RecursionError):
    """Jobs enqueue jobs that enqueue jobs, deeper than allowed.

    Attributes:
        job_id: The job that wanted to enqueue one more.
        hop: How deep that one would be.
        limit: The deepest allowed.
    """

    job_id: str
    hop: int
    limit: int
    template: ClassVar[str] = (
        "Job {job_id} cannot enqueue another one: it would be {hop} jobs deep; the limit is {limit}. If this "
        "is no loop, raise CTXJOBS_MAX_HOPS."
    )


@dataclass(eq=False, repr=False)
class JobDroppedError(StoredDataError):
    """A policy says that a job shall not run any more: it ends at once, as finished, with the result None.

    Raised while the contexts of a job are restored; it never reaches the caller of a worker.

    Attributes:
        reason: What has changed since the job was enqueued.
    """

    reason: str
    template: ClassVar[str] = (
        "The job is dropped: {reason}. That is what its policy says; enqueue it again to run it."
    )


@dataclass(eq=False, repr=False)
class LeakError(CallerError, RuntimeError):
    """A job returned and left something behind, and its worker takes that for a failure (``--on-leak=fail``).

    Attributes:
        job_id: The job.
        leaks: What it left, in sentences.
    """

    job_id: str
    leaks: str
    template: ClassVar[str] = (
        "Job {job_id} returned, and left something behind: {leaks}. Close it before the job ends, by 'with' "
        "or 'finally'."
    )


@dataclass(eq=False, repr=False)
class NoAuditError(CallerError, LookupError):
    """No run of a job function was audited, so nothing is known of what its jobs read.

    Attributes:
        function: Dotted name of the function.
        app_id: The app.
    """

    function: str
    app_id: str
    template: ClassVar[str] = (
        "No run of {function} in app {app_id!r} was audited in the last 30 days. Set CTXJOBS_AUDIT=1 (or a "
        "share such as 0.05) for its workers, let some jobs run, and ask again."
    )


@dataclass(eq=False, repr=False)
class ProcessDiedError(DeploymentError):
    """The process that ran a job has ended in the middle of it; given to its failure callback.

    Attributes:
        job_id: Id of the job.
        reason: What ended it, in a sentence.
    """

    job_id: str
    reason: str
    template: ClassVar[str] = (
        "Job {job_id} was cut off: {reason} Look into the log of the worker, and that of the machine (out of "
        "memory?). Give the job a Retry if it may run again."
    )
