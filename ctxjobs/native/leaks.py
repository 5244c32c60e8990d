"""Where a context was pushed, and the warning if it is never popped: in debug mode alone.

Imports nothing of this package; outside of debug mode nothing of this file runs.

A push is found unpopped when its context is garbage collected, because its thread, task or copy of
the context variables has ended, or else when the process exits. Not when a server's next request
finds the context: a request inside of an active context is right in a test, and where one app calls
another. What a view leaves pushed is an error at the end of its request, in any mode.
"""

from __future__ import annotations

import sys
import warnings
import weakref
from types import FrameType


class Push:
    """One push that was not popped yet.

    Args:
        ctx: The context; only a weak reference is kept.
        app_name: Its app's name, for the warning.

    Attributes:
        place: File and line of the code that pushed, as ``file:line``.
    """

    __slots__ = ("_report", "place")

    def __init__(self, ctx: object, app_name: str) -> None:
        frame = find_pusher()
        file, line = frame.f_code.co_filename, frame.f_lineno
        self.place = f"{file}:{line}"
        # The same text for a request context and for the app context that it brought: one warning.
        text = (
            f"A context of app {app_name!r} was pushed here and never popped. Use 'with', or call its "
            "pop() in a 'finally'."
        )
        registry = frame.f_globals.setdefault("__warningregistry__", {})
        module = frame.f_globals.get("__name__")
        self._report = weakref.finalize(
            ctx, warnings.warn_explicit, text, RuntimeWarning, file, line, module, registry
        )

    def end(self) -> None:
        """Take note of the pop: there is nothing to report."""
        self._report.detach()


def find_pusher() -> FrameType:
    """Return the innermost frame that is neither of this package nor of contextlib."""
    frame = sys._getframe()  # noqa: SLF001 - documented; inspect's way to it may return None
    while frame.f_back is not None and _is_on_the_way(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return frame


def _is_on_the_way(module: str) -> bool:
    return module == "contextlib" or module.startswith(f"{__package__}.")
