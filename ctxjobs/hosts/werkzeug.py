"""What the hosts on Werkzeug have in common: two context variables, a WSGI request, a session.

Shared by the native and the Flask adapter, which add only what is theirs. May import
:mod:`ctxjobs.hosts.base` and :mod:`ctxjobs.hosts.environ`; imports no framework.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, ClassVar

from ctxjobs import codec
from ctxjobs.errors import ContextMismatchError
from ctxjobs.hosts.base import Active, Layer
from ctxjobs.hosts.environ import rebuild_environ
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
        """The raw body, if it fits and nobody has parsed it as a form."""
        request = None if active.request_context is None else active.request_context.request
        if request is None or (request.content_length or 0) > limit_bytes:
            return None
        body: bytes = request.get_data(cache=True)
        return body if len(body) == (request.content_length or 0) else None

    def read_session(self, active: Active, names: Collection[str]) -> Mapping[str, Any] | None:
        """The session's values under *names*."""
        session = None if active.request_context is None else self.session_of(active.request_context)
        if session is None or self.is_null_session(session):
            return None
        # dict's own methods: a session's would mark it as accessed, which adds "Vary: Cookie" (R24).
        values = dict.copy(session) if isinstance(session, dict) else dict(session)
        return {name: values[name] for name in names if name in values}

    def read_g(self, active: Active) -> Mapping[str, Any]:
        """Everything on ``g``."""
        return dict(vars(active.app_context.g))

    # --- rebuilding -----------------------------------------------------------------------

    def layers(self, snapshot: Snapshot) -> Sequence[Layer]:
        """An application context with its ``g``, and a request context with its session."""
        app_context = self.app.app_context()
        for name, value in snapshot.g.items():
            setattr(app_context.g, name, codec.decode(value, f"g.{name}"))
        if snapshot.request is None:
            return [app_context]
        return [app_context, self._request_context(snapshot.request, snapshot)]

    def _request_context(self, request: RequestData, snapshot: Snapshot) -> Any:
        context = self.app.request_context(rebuild_environ(request))
        interface = self.app.session_interface
        if snapshot.session is None:
            session = interface.make_null_session(self.app)
        else:
            values = {
                name: codec.decode(value, f"session[{name!r}]") for name, value in snapshot.session.items()
            }
            session = self.session_class()(values)
        # Set before the push, so that nothing opens a session: no cookie is read, no store touched.
        self.preset_session(context, session)
        return context

    def check(self, layers: Sequence[Layer], snapshot: Snapshot) -> None:
        """Compare the route that the rebuilt request matches with the one that was captured.

        Raises:
            ContextMismatchError: They differ: the worker runs other code, or other settings.
        """
        if snapshot.request is None:
            return
        then = (snapshot.request.endpoint, snapshot.request.rule)
        now = _route(layers[-1])
        if then != now:
            raise ContextMismatchError(snapshot.app_id, *(_describe(route) for route in (then, now)))

    def written_in_vain(self, layers: Sequence[Layer]) -> Sequence[str]:
        """Writes to the session, which nothing saves, and functions for a response that there is none of."""
        if len(layers) < 2:
            return ()
        said = []
        if getattr(self.session_of(layers[-1]), "modified", False):
            said.append("it changed the session; a job's session is never saved")
        if self.response_functions_of(layers[-1]):
            said.append("it used after_this_request; a job has no response, and the function is never called")
        return said

    def left_behind(self, own: Sequence[Layer]) -> Layer | None:
        """The innermost context that is not one of *own*.

        A request context that pushed an application context of its own can only be popped while that
        one is on top; one that reused an application context can be popped at any time.
        """
        app_context, request_context = self.app_var.get(None), self.request_var.get(None)
        if request_context is not None and not _contains(own, request_context):
            implicit = self.implicit_app_context(request_context)
            buried = implicit is not None and implicit is not app_context
            innermost: Layer = app_context if buried else request_context
            return innermost
        if app_context is not None and not _contains(own, app_context):
            left: Layer = app_context
            return left
        return None

    # --- what an adapter says -------------------------------------------------------------

    def session_of(self, context: Any) -> Any:
        """The session of a request context, read without marking it as accessed."""
        raise NotImplementedError

    def response_functions_of(self, context: Any) -> Sequence[Any]:
        """What ``after_this_request`` has put on a request context."""
        raise NotImplementedError

    def preset_session(self, context: Any, session: Any) -> None:
        """Give *context* its session before it is pushed."""
        raise NotImplementedError

    def is_null_session(self, session: Any) -> bool:
        """Whether *session* stands for 'no session'."""
        raise NotImplementedError

    def session_class(self) -> type[Any]:
        """The class of the app's sessions, called with a dict."""
        raise NotImplementedError

    def implicit_app_context(self, request_context: Any) -> Any:
        """The application context that *request_context* pushed for itself; None if it reused one."""
        raise NotImplementedError


def _route(context: Any) -> tuple[str | None, str | None]:
    rule = None if context is None else context.request.url_rule
    return (None, None) if rule is None else (rule.endpoint, rule.rule)


def _describe(route: tuple[str | None, str | None]) -> str:
    endpoint, rule = route
    return "no route" if endpoint is None else f"endpoint {endpoint!r} ({rule})"


def _contains(own: Sequence[Layer], context: Any) -> bool:
    return any(layer is context for layer in own)
