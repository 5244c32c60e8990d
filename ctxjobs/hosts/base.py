"""What a host is: the framework an app belongs to, behind one interface.

Protocols and values only. May import the floors of values; knows no framework. The rules of push,
unwind and teardown are in :mod:`ctxjobs.hosts.stack`; an adapter only says what there is to push.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import msgspec

from ctxjobs.hosts.misses import Misses
from ctxjobs.snapshot import RequestData, Snapshot


class Active(msgspec.Struct, frozen=True):
    """The contexts of one app that are active now.

    Attributes:
        app_context: Its application context.
        request_context: Its request context; None outside of a request of this app.
    """

    app_context: Any
    request_context: Any | None


class Layer(Protocol):
    """One context, as far as it is pushed and popped."""

    def push(self) -> None:
        """Make it the active one."""
        ...

    def pop(self, exc: BaseException | None = ..., /) -> None:
        """Run its teardown functions with *exc*, then make the previous one active."""
        ...


@dataclass(frozen=True, slots=True)
class ContextCopy:
    """Contexts as they were at one moment, from which other ones are made.

    Attributes:
        snapshot: The app and the request; neither ``g`` nor session.
        fill: Puts the rest into contexts that were made from the snapshot, before they are pushed.
    """

    snapshot: Snapshot
    fill: Callable[[Sequence[Any]], None]


class Host(Protocol):
    """One app of one framework.

    A host reads from contexts and builds contexts. It takes no decision about what may be taken
    (that is the policy's) and none about the order of push and pop (that is the stack's).
    """

    kind: ClassVar[str]
    app: Any

    @property
    def import_name(self) -> str:
        """The module that the app was made in; the default of its id."""
        ...

    @property
    def config(self) -> Mapping[str, Any]:
        """The app's configuration."""
        ...

    def active(self) -> Active | None:
        """The contexts of this app, if its application context is the innermost one."""
        ...

    def read_environ(self, active: Active) -> Mapping[str, Any] | None:
        """The WSGI environ of the active request; None outside of one."""
        ...

    def read_route(self, active: Active) -> tuple[str | None, str | None]:
        """Endpoint and URL rule that the active request matched."""
        ...

    def read_body(self, active: Active, limit_bytes: int) -> bytes | None:
        """The body of the active request; None if it is longer, of unknown length, or was consumed."""
        ...

    def read_session(self, active: Active, names: Collection[str] | None) -> Mapping[str, Any] | None:
        """Its values under *names* (None: all), without marking it as accessed; None without a session."""
        ...

    def session_unmarked(self, active: Active) -> AbstractContextManager[None]:
        """A scope in which nothing that reads the session marks it as accessed; a change still does."""
        ...

    def read_g(self, active: Active) -> Mapping[str, Any]:
        """Everything on ``g``."""
        ...

    def write_g(self, active: Active, name: str, value: Any) -> None:
        """Set *name* on ``g``."""
        ...

    def copy(self, active: Active) -> ContextCopy:
        """What another thread needs to make fresh contexts like *active*."""
        ...

    def layers(self, snapshot: Snapshot) -> Sequence[Layer]:
        """Fresh contexts for *snapshot*, outermost first; ``g`` and session preset, nothing pushed.

        Each value on ``g`` comes from :func:`ctxjobs.references.unloaded`.
        """
        ...

    def make_request(self, url: str) -> RequestData:
        """A request for *url*, as the app would make it for a test; it matches whatever route it matches."""
        ...

    def guard(self, layers: Sequence[Any], misses: Misses) -> None:
        """Let the contexts, not pushed yet, know what of the snapshot was left out."""
        ...

    def read_misses(self, active: Active) -> Misses | None:
        """What :meth:`guard` was given for the active contexts; None if they are no job's."""
        ...

    def check(self, layers: Sequence[Layer], snapshot: Snapshot) -> None:
        """Raise if the contexts, now pushed, are not the ones that were captured."""
        ...

    def written_in_vain(self, layers: Sequence[Layer]) -> Sequence[str]:
        """What a job did to its contexts that has no effect, such as writing to the session."""
        ...

    def response_signals(self) -> tuple[Any, Any]:
        """The signals that Flask calls ``request_finished`` and ``got_request_exception``."""
        ...

    def left_behind(self, own: Sequence[Layer]) -> Layer | None:
        """The innermost active context that is not one of *own*."""
        ...

    @classmethod
    def accepts(cls, app: Any) -> bool:
        """Whether *app* belongs to this framework."""
        ...

    @classmethod
    def context_vars(cls) -> tuple[ContextVar[Any], ...]:
        """The variables that hold this framework's contexts."""
        ...

    @classmethod
    def active_app(cls) -> Any | None:
        """The app of this framework whose context is the innermost one; None if none is active."""
        ...
