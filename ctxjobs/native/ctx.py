"""The two contexts: what is pushed, what happens at push and pop, and in which order.

Imports :mod:`.globals`, :mod:`.signals` and :mod:`.unwind`, which has what both contexts share. The
app is only a value here, that has the functions to run.

Two stacks, as in Flask 3.1: application contexts on one, request contexts on the other. A request
context brings an application context of its own unless one of the same app is on top.

What other code may rely on: ``app``, ``g`` and ``url_adapter`` of an application context; ``app``,
``request``, ``session``, ``url_adapter`` and ``after_functions`` of a request context; ``pushed_at``
of both; and ``_session`` of a request context: set before the push it *is* the session, and nothing
is opened; reading it never marks the session as accessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import Token
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException

from ctxjobs.errors import ContextError

from .globals import _cv_app, _cv_request
from .signals import appcontext_popped, appcontext_pushed, appcontext_tearing_down, request_tearing_down, send
from .unwind import ErrorCollector, Pushable, refuse_pop, refuse_wrong_pop

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.routing import MapAdapter

    from .app import App
    from .sessions import SessionMixin
    from .wrappers import Request, Response


class AppContextGlobals:
    """The namespace behind :data:`~ctxjobs.native.globals.g`: one for each application context."""

    if TYPE_CHECKING:  # any name is an attribute

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def get(self, name: str, default: Any = None) -> Any:
        """Return the attribute *name*, or *default*."""
        return self.__dict__.get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        """Remove the attribute *name* and return it, or the default; KeyError without one."""
        return self.__dict__.pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return the attribute *name*; set it to *default* if it is missing."""
        return self.__dict__.setdefault(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __repr__(self) -> str:
        ctx = _cv_app.get(None)
        return object.__repr__(self) if ctx is None else f"<ctxjobs.g of {ctx.app.name!r}>"


class AppContext(Pushable):
    """Which app is current, and the ``g`` that belongs to the work at hand.

    Make one with :meth:`App.app_context`; it is active from :meth:`push` to :meth:`pop`, or inside
    ``with``. It may be pushed several times, also again after its last pop; it keeps its ``g``.

    Args:
        app: The app.
    """

    __slots__ = ("_tokens", "g", "is_brought", "url_adapter")

    def __init__(self, app: App) -> None:
        self.app, self._pushes = app, ()
        self.is_brought = False  # whether its first push is a request context's, which will pop it
        self.url_adapter: MapAdapter | None = app.create_url_adapter(None)
        self.g: AppContextGlobals = app.app_ctx_globals_class()
        self._tokens: list[Token[AppContext]] = []

    def push(self) -> None:
        """Make this the innermost application context.

        If a receiver of ``appcontext_pushed`` raises, the context is torn down again.
        """
        self._tokens.append(_cv_app.set(self))
        if self.app.config["DEBUG"]:
            self.note_push()
        if appcontext_pushed.receivers:
            try:
                send(appcontext_pushed, self.app)
            except BaseException as error:
                self.roll_back(error)
                raise

    def check_pop(self) -> None:
        """Raise what :meth:`pop` would refuse with; see :meth:`Pushable.check_pop`."""
        if self.is_brought and len(self._tokens) == 1:
            refuse_pop(self, "a request context brought it; pop that")
        self.check_order()

    def check_order(self) -> None:
        """The same, for the request context that brought it."""
        refuse_wrong_pop(_cv_app, self, self._tokens)

    def unwind(self, exc: BaseException | None, errors: ErrorCollector) -> None:
        """Pop without a check; see :meth:`Pushable.unwind`."""
        app = self.app
        try:
            if len(self._tokens) == 1:
                for function in reversed(app.teardown_appcontext_functions):
                    errors.run(app.ensure_sync(function), exc)
                if appcontext_tearing_down.receivers:
                    errors.run(send, appcontext_tearing_down, app, exc=exc)
        finally:
            _cv_app.reset(self._tokens.pop())
            if self._pushes:
                self.note_pop()
        if appcontext_popped.receivers:
            errors.run(send, appcontext_popped, app)

    def __repr__(self) -> str:
        return self.describe()


class RequestContext(Pushable):
    """The current request, its session, and what is to happen when it ends.

    Make one with :meth:`App.request_context`; push and pop are as for :class:`AppContext`. A push
    runs no before_request function and a pop no after_request function.

    Args:
        app: The app.
        environ: The WSGI environment.
        request: The request, if there is one already; *environ* is then its own.
        session: The session, if it is open already.
    """

    __slots__ = (
        "_app_contexts",
        "_session",
        "_tokens",
        "after_functions",
        "flashes",
        "request",
        "url_adapter",
    )

    def __init__(
        self,
        app: App,
        environ: WSGIEnvironment,
        request: Request | None = None,
        session: SessionMixin | None = None,
    ) -> None:
        self.app, self._pushes = app, ()
        self.request: Request = app.request_class(environ) if request is None else request
        self.url_adapter: MapAdapter | None = None
        try:
            self.url_adapter = app.create_url_adapter(self.request)
        except HTTPException as error:  # an untrusted host
            self.request.routing_exception = error
        self.flashes: list[tuple[str, str]] | None = None
        self.after_functions: list[Callable[[Any], Any]] = []
        self._session = session
        self._tokens: list[Token[RequestContext]] = []
        self._app_contexts: list[AppContext | None] = []  # for each push, the one that it brought

    @property
    def session(self) -> SessionMixin:
        """The session; asking for it marks it as accessed.

        Raises:
            ContextError: It is not open yet; the first push opens it.
        """
        if self._session is None:
            raise ContextError(f"{self!r} has no session yet. Push it first, or set its _session.")
        self._session.accessed = True
        return self._session

    def copy(self) -> RequestContext:
        """Return a context for the same request and session objects, to be pushed elsewhere."""
        return type(self)(self.app, self.request.environ, self.request, self._session)

    def push(self) -> None:
        """Make this the innermost request context: app context, request, session, URL, in this order.

        A URL that does not match is no error here: see ``request.routing_exception``. If anything
        raises, all that was done is torn down again.
        """
        self.activate()
        try:
            self.open()
        except BaseException as error:
            self.roll_back(error)
            raise

    def activate(self) -> None:
        """The first half of a push: the app context and the request."""
        top = _cv_app.get(None)
        own = None
        if top is None or top.app is not self.app:
            own = self.app.app_context()
            own.push()
            own.is_brought = True
        self._app_contexts.append(own)
        self._tokens.append(_cv_request.set(self))
        if self.app.config["DEBUG"]:
            self.note_push()

    def open(self) -> None:
        """The second half: the session, if it is not open yet, and the URL's match."""
        if self._session is None:
            interface = self.app.session_interface
            session = interface.open_session(self.app, self.request)
            self._session = interface.make_null_session(self.app) if session is None else session
        if self.url_adapter is not None:
            self.match_request(self.url_adapter)

    def match_request(self, adapter: MapAdapter) -> None:
        """Find the rule of the request's URL, or the exception that says why there is none."""
        try:
            self.request.url_rule, view_args = adapter.match(return_rule=True)
            self.request.view_args = dict(view_args)
        except HTTPException as error:
            self.request.routing_exception = error

    def check_pop(self) -> None:
        """Raise what :meth:`pop` would refuse with, also on behalf of the app context that it brought."""
        refuse_wrong_pop(_cv_request, self, self._tokens)
        own = self._app_contexts[-1]
        if own is not None:
            own.check_order()

    def unwind(self, exc: BaseException | None, errors: ErrorCollector) -> None:
        """Pop without a check; see :meth:`Pushable.unwind`."""
        app = self.app
        last = len(self._tokens) == 1
        try:
            if last:
                for function in reversed(app.teardown_request_functions):
                    errors.run(app.ensure_sync(function), exc)
                errors.run(send, request_tearing_down, app, exc=exc)
                errors.run(self.request.close)
        finally:
            _cv_request.reset(self._tokens.pop())
            if self._pushes:
                self.note_pop()
            if last:
                self.break_cycles(exc)
            own = self._app_contexts.pop()
            if own is not None:
                own.is_brought = False
                own.unwind(exc, errors)

    def break_cycles(self, exc: BaseException | None) -> None:
        """Cut what keeps the request and this context alive, so that no collector is needed.

        Args:
            exc: What ended the context; with one, a routing error may be on its way, and keeps its traceback.
        """
        self.request.environ["werkzeug.request"] = None
        error = self.request.routing_exception
        if exc is None and error is not None:
            error.__traceback__ = error.__context__ = None  # both have frames in which this context is

    def save_session(self, response: Response) -> None:
        """Let the session interface store the session, unless there is none to store."""
        interface = self.app.session_interface
        if self._session is not None and not interface.is_null_session(self._session):
            interface.save_session(self.app, self._session, response)

    def __repr__(self) -> str:
        return self.describe(f" {self.request.method} {self.request.path!r}")
