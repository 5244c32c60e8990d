"""Jobs that a worker will not run. Imports the families only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ctxjobs.errors.root import StoredDataError


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
