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
    """The user who enqueued the job can no longer be loaded.

    Attributes:
        user_id: The user's id.
    """

    user_id: str
    template: ClassVar[str] = (
        "The job was enqueued by user {user_id!r}, and the user loader returned None for that id. If the job "
        "shall run without its user, leave 'login' out of Capture(propagators=...) and enqueue it again."
    )
