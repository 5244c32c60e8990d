"""The app: its contexts, and the way of a request through it.

The top of this package but for :mod:`.cli` and :mod:`.testing`, loaded on first use. An app is built in
layers: :mod:`.config`, :mod:`.setup` (what is registered), :mod:`.urls`, and this; what happens at push and
pop is in :mod:`.ctx`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cached_property, wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import BadRequestKeyError, HTTPException, InternalServerError
from werkzeug.routing import MapAdapter, RoutingException

from ctxjobs.errors import ViewResultError

from .ctx import AppContext, AppContextGlobals, RequestContext
from .globals import _cv_app, get_request_context
from .sessions import SecureCookieSessionInterface, SessionInterface
from .setup import Function, Rule
from .signals import got_request_exception, request_finished, request_started, send
from .unwind import ErrorCollector
from .urls import UrlBuilding
from .wrappers import Request, Response, split_view_result, to_response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from .cli import AppGroup
    from .testing import AppClient, AppCliRunner


class App(UrlBuilding):
    """A WSGI app with Flask's contexts.

    Args:
        import_name: The module's ``__name__``.
        subdomain_matching: Match rules by subdomain too; needs ``SERVER_NAME``.
        host_matching: Match rules by host too.

    Attributes:
        request_class: Made for each request.
        response_class: Made for each response.
        app_ctx_globals_class: Made for each application context, as its ``g``; any class will do.
        session_interface: How sessions are opened and saved.
    """

    request_class: type[Request] = Request
    response_class: type[Response] = Response
    app_ctx_globals_class: type[Any] = AppContextGlobals
    session_interface: SessionInterface = SecureCookieSessionInterface()

    def __init__(
        self, import_name: str, *, subdomain_matching: bool = False, host_matching: bool = False
    ) -> None:
        super().__init__(import_name, subdomain_matching, host_matching)

    def app_context(self) -> AppContext:
        """Return a new application context, not pushed, with an empty ``g``."""
        return AppContext(self)

    def request_context(self, environ: WSGIEnvironment) -> RequestContext:
        """Return a new request context, not pushed, for a WSGI environment."""
        return RequestContext(self, environ)

    def test_request_context(self, *args: Any, **kwargs: Any) -> RequestContext:
        """Return a context for a made-up request; arguments as for :class:`.testing.EnvironBuilder`."""
        from .testing import EnvironBuilder  # a production process never loads it

        builder = EnvironBuilder(self, *args, **kwargs)
        try:
            return self.request_context(builder.get_environ())
        finally:
            builder.close()

    def test_client(self, use_cookies: bool = True, **kwargs: Any) -> AppClient:
        """Return a client that calls this app without a server; *kwargs* as for Werkzeug's Client."""
        from .testing import AppClient  # a production process never loads it

        return AppClient(self, self.response_class, use_cookies=use_cookies, **kwargs)

    @cached_property
    def cli(self) -> AppGroup:
        """The group of this app's commands; calling it runs the command line."""
        from .cli import OwnGroup  # click stays unloaded in a process without commands

        return OwnGroup(self)

    def test_cli_runner(self, **kwargs: Any) -> AppCliRunner:
        """Return a runner for commands of this app; *kwargs* as for click's CliRunner."""
        from .testing import AppCliRunner  # a production process never loads it

        return AppCliRunner(self, **kwargs)

    def ensure_sync(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return *function* as one that is called plainly.

        An ``async def`` function runs to its end on an event loop of its own, in a copy of the caller's
        contexts: it sees the same objects, and what it pushes does not leak. If a loop runs already
        in this thread, that happens in another thread.
        """
        return _run_in_new_loop(function) if iscoroutinefunction(function) else function

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request; middleware wraps :meth:`wsgi_app`, so that the app stays the app."""
        return self.wsgi_app(environ, start_response)

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Push a request context, dispatch, respond, pop.

        Unlike a pop, the end of a request removes what the view left pushed on top: a thread that
        serves many requests must not keep it. It is still an error.
        """
        ctx = self.request_context(environ)
        ctx.activate()
        errors = ErrorCollector()
        error: BaseException | None = None
        try:
            response, error = self._respond(ctx)
            return response(environ, start_response)
        except BaseException as raised:
            error = raised
            raise
        finally:
            if (preserve := environ.get("werkzeug.debug.preserve_context")) is not None:
                preserve(_cv_app.get())
                preserve(ctx)
            errors.run(ctx.check_pop)
            ctx.unwind(error, errors)
            if errors:
                errors.raise_for(ctx)

    def _respond(self, ctx: RequestContext) -> tuple[Response, Exception | None]:
        try:
            ctx.open()
            return self.full_dispatch_request(), None
        except Exception as error:  # noqa: BLE001 - logged and signalled there, or raised again
            return self.handle_exception(error), error

    def full_dispatch_request(self) -> Response:
        """Return the response to the current request: before_request, view, error handlers, after_request.

        Raises:
            Exception: What the view raised, if no error handler takes it.
        """
        self.got_first_request = True
        ctx = get_request_context()
        try:
            send(request_started, self)
            result = self._preprocess(ctx.request)
            if result is None:
                result = self._dispatch(ctx.request, ctx.url_adapter)
        except Exception as error:  # noqa: BLE001 - raised again unless handled
            result = self._handle_user_exception(error)
        return self._finalize(ctx, result)

    def _preprocess(self, request: Request) -> Any:
        for function in self.url_value_preprocessors:
            function(request.endpoint, request.view_args)
        for function in self.before_request_functions:
            result = self.ensure_sync(function)()
            if result is not None:
                return result
        return None

    def _dispatch(self, request: Request, adapter: MapAdapter | None) -> Any:
        if request.routing_exception is not None:
            raise request.routing_exception
        rule = request.url_rule
        if request.method == "OPTIONS" and isinstance(rule, Rule) and rule.automatic_options:
            response = self.response_class()
            response.allow.update(adapter.allowed_methods() if adapter else ())
            return response
        return self.ensure_sync(self.view_functions[request.endpoint or ""])(**(request.view_args or {}))

    def _handle_user_exception(self, error: Exception) -> Any:
        if isinstance(error, BadRequestKeyError) and self.debug:
            error.show_exception = True  # Flask raises it instead, for the debugger of its own server
        if isinstance(error, HTTPException) and (error.code is None or isinstance(error, RoutingException)):
            return error  # a response in the shape of an exception
        handler = self.find_error_handler(error)
        if handler is not None:
            return self.ensure_sync(handler)(error)
        if isinstance(error, HTTPException):
            return error
        raise error

    def handle_exception(self, error: Exception) -> Response:
        """Return the 500 for an error that no handler took; a handler for 500 makes its page.

        Raises:
            Exception: *error*, if ``PROPAGATE_EXCEPTIONS`` says so (default: while testing or debugging).
        """
        ctx = get_request_context()
        send(got_request_exception, self, exception=error)
        propagate = self.config["PROPAGATE_EXCEPTIONS"]
        if self.testing or self.debug if propagate is None else propagate:
            raise error
        self.logger.error("Exception on %s [%s]", ctx.request.path, ctx.request.method, exc_info=error)
        result: Any = InternalServerError(original_exception=error)
        handler = self.find_error_handler(result)
        if handler is not None:
            result = self.ensure_sync(handler)(result)
        return self._finalize(ctx, result, after_error=True)

    def _finalize(self, ctx: RequestContext, result: Any, after_error: bool = False) -> Response:
        response = self.make_response(result)
        try:
            for function in (*ctx.after_functions, *reversed(self.after_request_functions)):
                response = self.ensure_sync(function)(response)
            ctx.save_session(response)
            send(request_finished, self, response=response)
        except Exception:
            if not after_error:
                raise
            self.logger.exception("Finishing the response to an error failed; it is sent as it is.")
        return response

    def make_response(self, result: Any) -> Response:
        """Return *result*, in any shape that a view may return, as a response.

        Args:
            result: str, bytes, dict or list (as JSON), an iterator of str or bytes, a response, an
                HTTP exception, another WSGI app; or a tuple of one of these with status, headers or both.

        Raises:
            ViewResultError: Anything else.
        """
        request = get_request_context().request
        try:
            body, status, headers = split_view_result(result)
            if isinstance(body, (str, bytes, Iterator)):
                return self.response_class(body, status, headers)
            response = to_response(self.response_class, body, request.environ)
        except (TypeError, ValueError) as error:
            raise ViewResultError(request.endpoint, str(error)) from error
        if isinstance(status, str):
            response.status = status
        elif status is not None:
            response.status_code = status
        response.headers.update(headers or ())
        return response


def _run_in_new_loop(function: Function) -> Function:
    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        def work() -> Any:
            return asyncio.run(function(*args, **kwargs))  # its task runs in a copy of the contextvars

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return work()
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(copy_context().run, work).result()

    return run
