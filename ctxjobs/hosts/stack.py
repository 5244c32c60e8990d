"""The hard rules: how contexts are pushed, unwound and torn down around a job.

The only place that has them; every host goes through it. May import :mod:`ctxjobs.hosts.base`;
knows no framework.

The rules, each paid for by somebody: a push that fails half-way leaves nothing active; contexts that
the job pushed and left are popped first, then the scopes inside the contexts are left; every own
context is popped, whatever another one's teardown raises; the scopes around the contexts are left last; all
of them get the job's exception, and none of them can replace it; teardown errors after a success are an
error.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TypeVar

from ctxjobs.errors import TeardownError
from ctxjobs.hosts.base import Host, Layer
from ctxjobs.hosts.misses import Misses
from ctxjobs.snapshot import Snapshot

_log = logging.getLogger("ctxjobs")
_T = TypeVar("_T")


class ContextStack:
    """The contexts of one job, as a ``with`` block.

    Args:
        host: The app to run in.
        snapshot: What to restore.
        fill: Puts into the contexts, before they are pushed, what a snapshot cannot hold.
        scopes: Gives the scopes to enter once the contexts are pushed, one at a time. None of them can
            suppress the job's exception; what one raises at its exit counts as a teardown error.
        misses: Tells the job of what the capture policy left out; None tells nothing.
        around: Gives, for the outermost context, the scopes to enter before it is pushed. They are left
            after everything else; otherwise as *scopes*.

    Attributes:
        leaks: What the job left behind, filled at exit; each entry is a sentence.
        in_vain: What it did to its contexts that has no effect, likewise.
        misses: As given; knows afterwards what the job has looked for.
    """

    def __init__(
        self,
        host: Host,
        snapshot: Snapshot,
        fill: Callable[[Sequence[Layer]], None] | None = None,
        scopes: Callable[[], Iterable[AbstractContextManager[Any]]] = tuple,
        misses: Misses | None = None,
        around: Callable[[Layer], Iterable[AbstractContextManager[Any]]] = lambda context: (),
    ) -> None:
        self._host = host
        self._snapshot = snapshot
        self._fill = fill
        self._scopes = scopes
        self._around = around
        self.misses = misses
        self._layers: Sequence[Layer] = ()
        self._outer: list[Layer] = []
        self._pushed: list[Layer] = []
        self._entered: list[AbstractContextManager[Any]] = []
        self._surrounding: list[AbstractContextManager[Any]] = []
        self.leaks: list[str] = []
        self.in_vain: list[str] = []

    def __enter__(self) -> ContextStack:
        """Push the contexts; if one cannot be pushed, none stays active."""
        active = [variable.get(None) for variable in self._host.context_vars()]
        self._outer = [layer for layer in active if layer is not None]  # not ours, and not the job's
        try:
            self._layers = self._host.layers(self._snapshot)
            if self._fill is not None:
                self._fill(self._layers)
            if self.misses is not None:
                self._host.guard(self._layers, self.misses)
            _enter(self._around(self._layers[0]), self._surrounding)
            for layer in self._layers:
                layer.push()
                self._pushed.append(layer)
            self._host.check(self._layers, self._snapshot)
            _enter(self._scopes(), self._entered)
        except BaseException as exc:
            # A failing push may leave its own context active (Flask, all versions): it counts as foreign.
            _note(exc, self._unwind(exc))
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Pop the contexts, innermost first, whatever raises.

        Raises:
            TeardownError: The job succeeded and teardown functions raised.
        """
        errors = self._unwind(exc, self.leaks)
        self.in_vain += self._host.written_in_vain(self._layers)
        if exc is not None:
            _note(exc, errors)
            return
        for error in errors:
            if not isinstance(error, Exception):
                raise error
        if errors:
            texts = "; ".join(f"{type(error).__name__}: {error}" for error in errors)
            raise TeardownError(f"The job returned, then its teardown raised: {texts}", errors) from errors[0]

    def _unwind(self, exc: BaseException | None, leaks: list[str] | None = None) -> list[BaseException]:
        errors: list[BaseException] = []
        self._pop_foreign(exc, errors, leaks)
        while self._entered:
            _leave(self._entered.pop(), exc, errors)
        while self._pushed:
            _pop(self._pushed.pop(), exc, errors)
            self._pop_foreign(exc, errors, leaks)  # the same one, if the job pushed it once more
        while self._surrounding:
            _leave(self._surrounding.pop(), exc, errors)
        return errors

    def _pop_foreign(
        self, exc: BaseException | None, errors: list[BaseException], leaks: list[str] | None
    ) -> None:
        """Pop what is neither one of our layers nor was active before."""
        while (layer := self._left_behind()) is not None:
            if leaks is not None:
                leaks.append(f"it pushed a context and never popped it ({_describe(layer)})")
            if not _pop(layer, exc, errors) and self._left_behind() is layer:
                break  # it cannot be popped; it dies with the job's copy of the context variables

    def _left_behind(self) -> Layer | None:
        return self._host.left_behind([*self._outer, *self._pushed])


def pop_others(variables: Sequence[contextvars.ContextVar[Any]], outer: Collection[Any] = ()) -> list[str]:
    """Pop every context that is still active, of whichever host.

    Args:
        variables: The variables that hold contexts, of every host.
        outer: Contexts that may be active.

    Returns:
        A sentence for each that was popped.
    """
    leaks = []
    for variable in reversed(
        variables
    ):  # a request context brings its application context, and takes it along
        while (layer := variable.get(None)) is not None and not any(layer is one for one in outer):
            leaks.append(f"it pushed a context and never popped it ({_describe(layer)})")
            if not _pop(layer, None, []) or variable.get(None) is layer:
                break  # it dies with this copy of the variables
    return leaks


def run_clean(variables: Collection[contextvars.ContextVar[Any]], func: Callable[[], _T]) -> _T:
    """Call *func* in a copy of the current context variables without *variables*.

    Nothing of an outer request, command or job shines through, while what Sentry, OpenTelemetry and
    structlog keep in context variables of their own goes on working.

    Args:
        variables: The variables that hold contexts, of every host.
        func: What to call.
    """
    clean = contextvars.Context()
    for variable, value in contextvars.copy_context().items():
        if variable not in variables:
            clean.run(variable.set, value)
    return clean.run(func)


def _pop(layer: Layer, exc: BaseException | None, errors: list[BaseException]) -> bool:
    try:
        layer.pop(exc)
    except BaseException as error:  # noqa: BLE001 - a timeout that strikes here must not stop the unwinding
        errors.extend(_single_errors(error))
    else:
        return True
    return False


def _enter(scopes: Iterable[AbstractContextManager[Any]], entered: list[AbstractContextManager[Any]]) -> None:
    for scope in scopes:
        scope.__enter__()
        entered.append(scope)


def _leave(
    scope: AbstractContextManager[Any], exc: BaseException | None, errors: list[BaseException]
) -> None:
    try:
        scope.__exit__(None if exc is None else type(exc), exc, None if exc is None else exc.__traceback__)
    except BaseException as error:  # noqa: BLE001 - as in _pop
        if error is not exc:
            errors.append(error)


def _describe(layer: Layer) -> str:
    place = getattr(layer, "pushed_at", None)  # native contexts know it in debug mode
    return f"{type(layer).__name__}, pushed at {place}" if place else type(layer).__name__


def _single_errors(error: BaseException) -> Sequence[BaseException]:
    """The errors of which *error* is the sum: the native system's, or an exception group as of Flask 3.2."""
    together = error if isinstance(error, TeardownError) else error.__cause__
    if isinstance(together, TeardownError) and (error is together or error in together.errors):
        return together.errors or [error]
    inner = getattr(error, "exceptions", ())  # there is no class for groups before Python 3.11
    return [single for one in inner for single in _single_errors(one)] or [error]


def _note(exc: BaseException, errors: Sequence[BaseException]) -> None:
    """Tell of teardown errors next to *exc*, which stays the one that is raised."""
    for error in errors:
        if error is exc:
            continue
        _log.error("teardown raised after %s: %s", type(exc).__name__, error, exc_info=error)
        if add_note := getattr(exc, "add_note", None):  # Python 3.11
            add_note(f"Afterwards its teardown raised {type(error).__name__}: {error}")
