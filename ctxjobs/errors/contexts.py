"""Contexts used where they are not active, or in a way they do not allow. Imports the families only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ctxjobs.errors.root import CallerError


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
