"""What a job reads and its capture policy left out. Imports the families, and Werkzeug's exceptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from werkzeug.exceptions import BadRequest, BadRequestKeyError, UnsupportedMediaType

from ctxjobs.errors.root import CallerError


@dataclass(eq=False, repr=False)
class NotCapturedError(CallerError):
    """A job read something that was there when it was enqueued, and did not travel with it.

    Each subclass also derives from what the framework raises for a name that never was there.

    Attributes:
        job_id: The job; ``-`` where contexts were restored without one.
        key: What it read, such as ``session['cart']``.
        reason: Why it is not there.
        advice: What to add to ``Capture(...)``, or what to do instead.
    """

    job_id: str
    key: str
    reason: str
    advice: str
    template: ClassVar[str] = "Job {job_id} read {key}, which did not travel with it: {reason}. {advice}"


@dataclass(eq=False, repr=False)
class NotCapturedAttributeError(NotCapturedError, AttributeError):
    """A job read a name on ``g`` that did not travel with it."""


@dataclass(eq=False, repr=False)
class NotCapturedKeyError(NotCapturedError, KeyError):
    """A job read a key, of the session for example, that did not travel with it."""


@dataclass(eq=False, repr=False)
class NotCapturedFieldError(NotCapturedKeyError, BadRequestKeyError):
    """A job read a header, a cookie, a form field or a file that did not travel with it."""

    response = None  # a class attribute: HTTPException sets it in its __init__, which is not called


@dataclass(eq=False, repr=False)
class NotCapturedJSONError(NotCapturedError, BadRequest, UnsupportedMediaType):
    """A job read ``request.json``, and the body did not travel with it.

    Both of what Flask raises there: UnsupportedMediaType where the content type is missing too, and
    BadRequest where ``get_json(force=True)`` finds no JSON.
    """

    response = None  # a class attribute: HTTPException sets it in its __init__, which is not called
