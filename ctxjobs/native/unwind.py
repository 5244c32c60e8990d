"""The hard rules of leaving a context: which pop is refused, and how an unwinding comes to its end.

Imports :mod:`.leaks` alone of this package. Knows no request, and of the app only its name and mode;
:mod:`.ctx` has the two contexts that follow these rules.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from ctxjobs.errors import ContextPopError, TeardownError

from .leaks import Push

if TYPE_CHECKING:
    from .app import App

P = TypeVar("P", bound="Pushable")
_UNSET: Any = object()


class ErrorCollector(list[BaseException]):
    """What went wrong while unwinding, which goes on to its end whatever happens."""

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call *function*; keep what it raises."""
        try:
            function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - kept, and raised by raise_for()
            self.append(error)

    def raise_for(self, ctx: object) -> None:
        """Raise what was kept: at least one error.

        Raises:
            TeardownError: Some functions raised. If one of the errors is no Exception (an exit, an
                interrupt), then it is raised itself, with the TeardownError as its cause.
        """
        raised = "; ".join(map(repr, self))
        together = TeardownError(
            f"{len(self)} functions raised while {ctx!r} was popped: {raised}. All others ran; it is "
            "no longer active. A teardown function must not rely on what other functions set up.",
            tuple(self),
        )
        for error in self:
            if not isinstance(error, Exception):
                raise error from together
        raise together from self[0]


def refuse_wrong_pop(var: ContextVar[Any], ctx: object, tokens: list[Token[Any]]) -> None:
    """Raise unless *ctx* is what a pop of *var* would pop; change nothing either way.

    Args:
        var: The variable whose value is the innermost context.
        ctx: The context to be popped.
        tokens: Its tokens, one for each push.

    Raises:
        ContextPopError: It is not the innermost one, not pushed, or pushed in another thread or task.
    """
    top = var.get(None)
    if not tokens:
        reason = "it is not active: never pushed, or popped already"
    elif top is not None and top is not ctx:
        reason = f"{top!r} was pushed after it and is still active; pop that first"
    else:
        try:
            var.reset(tokens[-1])
        except ValueError:
            reason = "it was pushed in another thread, task or copy of the context; pop it there"
        else:
            tokens[-1] = var.set(ctx)  # a token serves once: this one replaces it, and means the same
            return
    refuse_pop(ctx, reason)


def refuse_pop(ctx: object, reason: str) -> NoReturn:
    """Raise the error of a wrong pop.

    Raises:
        ContextPopError: Always.
    """
    raise ContextPopError(f"{ctx!r} cannot be popped: {reason}. Nothing was changed.")


class Pushable:
    """What both contexts share: a push that succeeds or undoes itself, a pop that is checked first.

    Attributes:
        app: The app.
    """

    __slots__ = ("__weakref__", "_pushes", "app")

    app: App
    _pushes: tuple[Push, ...]  # those that were not popped yet, in debug mode; else empty

    @property
    def pushed_at(self) -> str | None:
        """Where the innermost push was, as ``file:line``; None if it is popped or outside of debug mode."""
        return self._pushes[-1].place if self._pushes else None

    def note_push(self) -> None:
        """Remember who pushed, to be told if nobody pops; called in debug mode alone."""
        self._pushes += (Push(self, self.app.name),)

    def note_pop(self) -> None:
        """Forget the innermost push; called if :meth:`note_push` was."""
        self._pushes[-1].end()
        self._pushes = self._pushes[:-1]

    def push(self) -> None:
        """Make this the innermost context of its kind."""
        raise NotImplementedError

    def check_pop(self) -> None:
        """Raise what :meth:`pop` would refuse with, and change nothing.

        Raises:
            ContextPopError: This is not the innermost context.
        """
        raise NotImplementedError

    def unwind(self, exc: BaseException | None, errors: ErrorCollector) -> None:
        """Pop without a check, whatever is on top: for those who have checked, or must get rid of it.

        Args:
            exc: What the teardown functions get.
            errors: Where to put what they raise.
        """
        raise NotImplementedError

    def pop(self, exc: BaseException | None = _UNSET) -> None:
        """End the innermost push; at the last one, run the teardown functions first.

        Args:
            exc: What the teardown functions get. Default: the exception that is being handled, or None.

        Raises:
            ContextPopError: This is not the innermost context; nothing was changed.
            TeardownError: Teardown functions raised; all ran, and the context is popped.
        """
        if exc is _UNSET:
            exc = sys.exc_info()[1]
        self.check_pop()
        self.roll_back(exc)

    def roll_back(self, exc: BaseException | None) -> None:
        """Pop without a check, as after a push that failed half-way.

        Args:
            exc: What the teardown functions get.

        Raises:
            TeardownError: Teardown functions raised; all ran, and the context is popped.
        """
        errors = ErrorCollector()
        self.unwind(exc, errors)
        if errors:
            errors.raise_for(self)

    def describe(self, what: str = "") -> str:
        """Return the text of repr(): which context, *what* is special about it, where it was pushed."""
        place = f", pushed at {self.pushed_at}" if self._pushes else ""
        return f"<{type(self).__name__} {id(self):#x}{what} of {self.app.name!r}{place}>"

    def __enter__(self: P) -> P:
        self.push()
        return self

    def __exit__(self, kind: type | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.pop(exc)
