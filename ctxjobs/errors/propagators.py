"""State of extensions that a job carries and that cannot be put back. Imports the families only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ctxjobs.errors.root import DeploymentError, StoredDataError


@dataclass(eq=False, repr=False)
class PropagatorMissingError(DeploymentError):
    """A job carries state that nothing in this process can put back; it does not run without it.

    Attributes:
        name: Name of the propagator.
        app_id: The job's app.
        reason: What is missing here.
    """

    name: str
    app_id: str
    reason: str
    template: ClassVar[str] = (
        "The job carries the state of propagator {name!r}, and for app {app_id!r} in this process {reason}. "
        "Deploy the same code to the web process and the worker, then requeue the job."
    )


@dataclass(eq=False, repr=False)
class UserGoneError(StoredDataError, LookupError):
    """The user whom the job runs as can no longer be loaded.

    Attributes:
        user_id: The user's id.
    """

    user_id: str
    template: ClassVar[str] = (
        "The job runs as user {user_id!r}, and the user loader returned None for that id. If such jobs shall "
        "run as nobody, or not at all, set Capture(gone_user='anonymous') or 'drop', and enqueue it again."
    )


@dataclass(eq=False, repr=False)
class UserStaleError(StoredDataError):
    """The user whom the job runs as has changed since it was enqueued.

    Attributes:
        user_id: The user's id.
    """

    user_id: str
    template: ClassVar[str] = (
        "The job runs as user {user_id!r}, whose CTXJOBS_USER_STAMP has changed since it was enqueued. "
        "Enqueue it again, or say in Capture(stale_user=...) what such jobs shall do."
    )
