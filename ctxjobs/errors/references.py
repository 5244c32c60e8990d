"""Models that a job refers to, and that are not there when it runs. Imports the families only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ctxjobs.errors.root import DeploymentError, StoredDataError


@dataclass(eq=False, repr=False)
class ReferenceGoneError(StoredDataError, LookupError):
    """A job refers to an object that is not in its database any more.

    Attributes:
        path: Where the job refers to it, such as ``args[0]`` or ``g.order``.
        model: Name of its model.
        key: Its key, as text.
    """

    path: str
    model: str
    key: str
    template: ClassVar[str] = (
        "{path} refers to {model} {key}, which cannot be found: it was deleted, or not committed before the "
        "job was enqueued. Commit first; if jobs can do without it, register the model with gone='none' or "
        "gone='drop'."
    )


@dataclass(eq=False, repr=False)
class UnknownModelError(DeploymentError):
    """A job refers to an object of a model that this process does not know; it loads no other.

    Attributes:
        path: Where the job refers to it.
        model: Name of the model.
    """

    path: str
    model: str
    template: ClassVar[str] = (
        "{path} refers to {model}, and no model of that name is registered in this process. Call "
        "ctxjobs.register_model in code that the worker imports, then requeue the job."
    )
