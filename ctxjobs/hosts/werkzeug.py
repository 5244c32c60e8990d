"""What the hosts on Werkzeug have in common: two context variables, a WSGI request, a session.

Shared by the native and the Flask adapter, which add only what is theirs. May import
:mod:`ctxjobs.hosts.base` and :mod:`ctxjobs.hosts.environ`; imports no framework.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from functools import lru_cache, partial
from typing import Any, ClassVar

from ctxjobs.errors import ContextMismatchError
from ctxjobs.hosts.base import Active, ContextCopy, Layer
from ctxjobs.hosts.copying import RequestCopy, shareable
from ctxjobs.hosts.environ import read_environ, rebuild_environ
from ctxjobs.hosts.guards import GUARDS, guard, guard_g, misses_of
from ctxjobs.hosts.misses import Misses
from ctxjobs.hosts.pushes import innermost_foreign
from ctxjobs.hosts.reads import AUDITED, Reads
from ctxjobs.policy import CGI_KEYS
from ctxjobs.references import unloaded
from ctxjobs.snapshot import RequestData, Snapshot


class WerkzeugHost:
    """A host whose contexts are an application context and a request context.

    Args:
        app: The app.
    """

    kind: ClassVar[str]
    #: Holds the innermost application context.
    app_var: ClassVar[ContextVar[Any]]
    #: Holds the innermost request context.
    request_var: ClassVar[ContextVar[Any]]

    def __init__(self, app: Any) -> None:
        self.app = app

    @property
    def import_name(self) -> str:
        """The module that the app was made in."""
        return str(self.app.import_name)

    @property
    def config(self) -> Mapping[str, Any]:
        """The app's configuration."""
        config: Mapping[str, Any] = self.app.config
        return config

    @classmethod
    def context_vars(cls) -> tuple[ContextVar[Any], ...]:
        """The two variables that hold the contexts."""
        return cls.app_var, cls.request_var

    @classmethod
    def active_app(cls) -> Any | None:
        """The app of the innermost application context."""
        context = cls.app_var.get(None)
        return None if context is None else context.app

    # --- reading --------------------------------------------------------------------------

    def active(self) -> Active | None:
        """This app's contexts, if its application context is the innermost one."""
        app_context = self.app_var.get(None)
        if app_context is None or app_context.app is not self.app:
            return None
        request_context = self.request_var.get(None)
        if request_context is not None and request_context.app is not self.app:
            request_context = None  # another app's request, below this app's context
        return Active(app_context, request_context)

    def read_environ(self, active: Active) -> Mapping[str, Any] | None:
        """The environ, as the app sees it: after ProxyFix and DispatcherMiddleware."""
        if active.request_context is None:
            return None
        environ: Mapping[str, Any] = active.request_context.request.environ
        return environ

    def read_route(self, active: Active) -> tuple[str | None, str | None]:
        """Endpoint and rule of the active request."""
        return _route(active.request_context)

    def read_body(self, active: Active, limit_bytes: int) -> bytes | None:
        """The raw body, if its length is known, it fits, and nobody has parsed it as a form."""
        request = None if active.request_context is None else active.request_context.request
        if request is None or (request.content_length or 0) > limit_bytes:
            return None
        if request.content_length is None and "HTTP_TRANSFER_ENCODING" in request.environ:
            return None  # the only way to learn its length is to read all of it
        body: bytes = request.get_data(cache=True)
        return body if len(body) == (request.content_length or 0) else None

    def read_session(self, active: Active, names: Collection[str] | None) -> Mapping[str, Any] | None:
        """The session's values under *names*; all of them for None."""
        session = None if active.request_context is None else self.session_of(active.request_context)
        if session is None or self.app.session_interface.is_null_session(session):
            return None
        # dict's own methods: a session's would mark it as accessed, which adds "Vary: Cookie" (R24).
        values = dict(dict.items(session)) if isinstance(session, dict) else dict(session)
        return values if names is None else {name: values[name] for name in names if name in values}

    @contextmanager
    def session_unmarked(self, active: Active) -> Iterator[None]:
        """Put ``accessed`` back, unless the session was changed."""
        session = None if active.request_context is None else self.session_of(active.request_context)
        accessed = getattr(session, "accessed", True)
        try:
            yield
        finally:
            if session is not None and not accessed and not session.modified:
                session.accessed = False

    def read_g(self, active: Active) -> Mapping[str, Any]:
        """Everything on ``g``."""
        return _attributes(active.app_context.g)

    def write_g(self, active: Active, name: str, value: Any) -> None:
        """Set *name* on ``g``; it is not the job that sets it, so no guard is told."""
        object.__setattr__(active.app_context.g, name, value)

    def copy(self, active: Active) -> ContextCopy:
        """What *active* holds: the values on ``g`` and in the session by reference, the request by value."""
        g, session, request = shareable(self.read_g(active)), self.read_session(active, None), None
        if active.request_context is not None:
            request = RequestCopy.of(active.request_context.request, *self.read_route(active))
        snapshot = Snapshot(self.import_name, request=None if request is None else request.data)
        return ContextCopy(snapshot, partial(self._fill, g, session, request))

    def _fill(
        self,
        g: Mapping[str, Any],
        session: Mapping[str, Any] | None,
        request: RequestCopy | None,
        layers: Sequence[Any],
    ) -> None:
        for name, value in g.items():
            setattr(layers[0].g, name, value)
        context = self.request_context_of(layers)
        if request is not None and context is not None:
            request.fill(context.request)
            if session is not None:
                self.preset_session(context, self.session_class()(session))

    # --- rebuilding -----------------------------------------------------------------------

    def layers(self, snapshot: Snapshot) -> Sequence[Layer]:
        """An application context with its ``g``, and a request context with its session."""
        app_context = self.app.app_context()
        self.preset_g(app_context, snapshot)
        if snapshot.request is None:
            return [app_context]
        return [app_context, self.make_request_context(snapshot.request, snapshot)]

    def preset_g(self, context: Any, snapshot: Snapshot) -> None:
        """Fill the ``g`` of *context*, which is not pushed yet, so nothing can be loaded for it."""
        for name, value in snapshot.decoded("g", unloaded).items():
            setattr(context.g, name, value)

    def make_request_context(self, request: RequestData, snapshot: Snapshot) -> Any:
        """A request context for *request*, not pushed, with its session."""
        context = self.app.request_context(rebuild_environ(request))
        interface = self.app.session_interface
        if snapshot.session is None:
            session = interface.make_null_session(self.app)
        else:
            session = self.session_class()(snapshot.decoded("session"))
        # Set before the push, so that nothing opens a session: no cookie is read, no store touched.
        self.preset_session(context, session)
        return context

    def make_request(self, url: str) -> RequestData:
        """The environ of the app's ``test_request_context``; the route is found in the job."""
        environ = self.app.test_request_context(url).request.environ
        return RequestData(read_environ(environ, {*CGI_KEYS, "HTTP_HOST"})[0])

    def guard(self, layers: Sequence[Any], misses: Misses) -> None:
        """Guard the ``g``, the session and the request, as far as there is something to tell of them."""
        if not misses.tells("g", "session", "headers", "request"):
            return
        guards = AUDITED if isinstance(misses, Reads) else GUARDS
        layers[0].g = guard_g(layers[0].g, _attributes(layers[0].g), misses, guards.g)
        context = self.request_context_of(layers)
        if context is None:
            return
        if misses.tells("session"):
            guard(self.session_of(context), misses, guards.session)
        if misses.tells("headers"):
            guard(context.request.headers, misses, guards.headers)
        if misses.tells("request"):
            guard(context.request, misses, guards.request)

    def read_misses(self, active: Active) -> Misses | None:
        """What the active ``g`` knows."""
        return misses_of(active.app_context.g)

    def check(self, layers: Sequence[Layer], snapshot: Snapshot) -> None:
        """Compare the route that the rebuilt request matches with the one that was captured.

        Raises:
            ContextMismatchError: They differ: the worker runs other code, or other settings.
        """
        if snapshot.request is None or "request" in snapshot.overrides or "request" in snapshot.system:
            return  # no route was captured
        then = (snapshot.request.endpoint, snapshot.request.rule)
        now = _route(layers[-1])
        if then != now:
            raise ContextMismatchError(snapshot.app_id, *(_describe(route) for route in (then, now)))

    def written_in_vain(self, layers: Sequence[Layer]) -> Sequence[str]:
        """Writes to the session, which nothing saves, and functions for a response that there is none of."""
        context = self.request_context_of(layers)
        if context is None:
            return ()
        said = []
        if getattr(self.session_of(context), "modified", False):
            said.append("it changed the session; a job's session is never saved")
        if self.response_functions_of(context):
            said.append("it used after_this_request; a job has no response, and the function is never called")
        return said

    def left_behind(self, own: Sequence[Layer]) -> Layer | None:
        """The innermost context that is not one of *own*, or that is and was pushed once more."""
        app_context, request_context = self.app_var.get(None), self.request_var.get(None)
        return innermost_foreign(own, app_context, request_context, self.request_pushes_of)

    # --- what an adapter says -------------------------------------------------------------

    def request_context_of(self, layers: Sequence[Layer]) -> Any | None:
        """The one of *layers* that holds a request; None if none does."""
        return layers[1] if len(layers) > 1 else None

    def session_of(self, context: Any) -> Any:
        """The session of a request context, read without marking it as accessed."""
        raise NotImplementedError

    def response_functions_of(self, context: Any) -> Sequence[Any]:
        """What ``after_this_request`` has put on a request context."""
        raise NotImplementedError

    def preset_session(self, context: Any, session: Any) -> None:
        """Give *context* its session before it is pushed."""
        raise NotImplementedError

    def session_class(self) -> type[Any]:
        """The class of the app's sessions, called with a dict."""
        raise NotImplementedError

    def request_pushes_of(self, context: Any) -> Sequence[tuple[Token[Any], Any]]:
        """For each push of a request context: its token, and the application context it brought, or None."""
        raise NotImplementedError


def _attributes(namespace: Any) -> dict[str, Any]:
    """The attributes that are set on *namespace*, whether its class has a ``__dict__`` or ``__slots__``."""
    cls: Any = type(namespace)
    slots = {}
    for name in _slots(cls):
        with suppress(AttributeError):
            slots[name] = object.__getattribute__(namespace, name)  # not getattr: a guard would note a miss
    return {**slots, **getattr(namespace, "__dict__", {})}


@lru_cache(maxsize=256)
def _slots(cls: Any) -> tuple[str, ...]:
    declared = [vars(base).get("__slots__", ()) for base in cls.__mro__]
    names = [name for slots in declared for name in ([slots] if isinstance(slots, str) else slots)]
    return tuple(name for name in names if not name.startswith("__"))


def _route(context: Any) -> tuple[str | None, str | None]:
    rule = None if context is None else context.request.url_rule
    return (None, None) if rule is None else (rule.endpoint, rule.rule)


def _describe(route: tuple[str | None, str | None]) -> str:
    endpoint, rule = route
    return "no route" if endpoint is None else f"endpoint {endpoint!r} ({rule})"
