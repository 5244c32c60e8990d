"""For tests of a native app: requests without a server, commands without a shell.

The only file that needs the test modules of Werkzeug and click; nothing imports it until an app is
asked for a test client, a test request context or a test runner.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
import werkzeug.test
from click.testing import CliRunner, Result
from werkzeug.test import Client, TestResponse
from werkzeug.wrappers import Request as WerkzeugRequest

from ctxjobs.errors import ConfigError, ContextError

from .cli import ScriptInfo
from .wrappers import AppJSON

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.datastructures import Headers

    from .app import App
    from .sessions import SessionMixin


class EnvironBuilder(werkzeug.test.EnvironBuilder):
    """Makes the WSGI environment of a request, with defaults from the app's configuration.

    Args:
        app: The app.
        path: Path and query of the URL, or a whole URL.
        base_url: Where the app is, such as ``https://example.com/root``. Default: made of
            ``PREFERRED_URL_SCHEME``, *subdomain*, ``SERVER_NAME`` (or localhost) and ``APPLICATION_ROOT``.
        subdomain: Put before ``SERVER_NAME``.
        url_scheme: In place of ``PREFERRED_URL_SCHEME``.
        args: As for Werkzeug's EnvironBuilder.
        kwargs: As for Werkzeug's EnvironBuilder.

    Raises:
        ConfigError: *base_url* together with *subdomain* or *url_scheme*.
    """

    json_dumps: Any = AppJSON.dumps

    def __init__(
        self,
        app: App,
        path: str = "/",
        base_url: str | None = None,
        subdomain: str | None = None,
        url_scheme: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if base_url is None:
            url = urlsplit(path)
            host = app.config["SERVER_NAME"] or "localhost"
            host = url.netloc or (f"{subdomain}.{host}" if subdomain else host)
            scheme = url.scheme or url_scheme or app.config["PREFERRED_URL_SCHEME"]
            base_url = f"{scheme}://{host}/{app.config['APPLICATION_ROOT'].lstrip('/')}"
            path = f"{url.path}?{url.query}" if url.query else url.path
        elif subdomain or url_scheme:
            raise ConfigError(
                "base_url", "It has scheme and host already; leave out subdomain and url_scheme."
            )
        super().__init__(path, base_url, *args, **kwargs)


class AppClient(Client):
    """Werkzeug's test client, which can keep the contexts of a request for a look at them.

    Inside of ``with client:`` the contexts of the last request are active again after it, until the
    next request or the end of the block; teardown functions run both times.

    Attributes:
        environ_base: What every request has unless it says otherwise.
    """

    application: App

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.environ_base = {
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_USER_AGENT": f"Werkzeug/{version('werkzeug')}",
        }
        self._preserves = False
        self._preserved = ExitStack()

    def open(
        self, *args: Any, buffered: bool = False, follow_redirects: bool = False, **kwargs: Any
    ) -> TestResponse:
        """Make a request; arguments as for :class:`EnvironBuilder`, or one builder, environ or request."""
        if not (args and isinstance(args[0], (werkzeug.test.EnvironBuilder, dict, WerkzeugRequest))):
            builder = EnvironBuilder(self.application, *args, **kwargs)
            try:
                args, kwargs = (builder.get_request(),), {}
            finally:
                builder.close()
        return super().open(*args, buffered=buffered, follow_redirects=follow_redirects, **kwargs)

    def run_wsgi_app(
        self, environ: WSGIEnvironment, buffered: bool = False
    ) -> tuple[Iterable[bytes], str, Headers]:
        """Call the app; drop the contexts that were kept, keep those of this request."""
        self._preserved.close()
        for key, value in self.environ_base.items():
            environ.setdefault(key, value)
        contexts: list[Any] = []
        if self._preserves:
            environ["werkzeug.debug.preserve_context"] = contexts.append
        result = super().run_wsgi_app(environ, buffered)
        for ctx in contexts:
            self._preserved.enter_context(ctx)
        return result

    @contextmanager
    def session_transaction(self, *args: Any, **kwargs: Any) -> Iterator[SessionMixin]:
        """Give the client's session to a ``with`` block, which may change it; then store it.

        Args:
            args: As for :class:`EnvironBuilder`: the request for which the session is opened.
            kwargs: The same.

        Raises:
            ContextError: The client has no cookies, or the app opens no session.
        """
        if self._cookies is None:
            raise ContextError(
                "This client keeps no cookies, so it has no session; use_cookies=True keeps them."
            )
        app = self.application
        ctx = app.test_request_context(*args, **kwargs)
        self._add_cookies_to_wsgi(ctx.request.environ)
        with ctx:
            session = app.session_interface.open_session(app, ctx.request)
        if session is None:
            raise ContextError(f"{app!r} opens no session. Set its secret_key first.")
        yield session
        if app.session_interface.is_null_session(session):
            return
        response = app.response_class()
        with ctx:
            app.session_interface.save_session(app, session, response)
        host, path = ctx.request.host.partition(":")[0], ctx.request.path
        self._update_cookies_from_response(host, path, response.headers.getlist("Set-Cookie"))

    def __enter__(self) -> AppClient:
        if self._preserves:
            raise ContextError("Cannot nest client invocations: this client is in a 'with' block already.")
        self._preserves = True
        return self

    def __exit__(self, kind: type | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._preserves = False
        self._preserved.close()


class AppCliRunner(CliRunner):
    """Click's test runner, for the commands of one app.

    Args:
        app: The app.
        kwargs: As for click's CliRunner.
    """

    def __init__(self, app: App, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.app = app

    def invoke(self, cli: click.Command | None = None, args: Any = None, **kwargs: Any) -> Result:  # type: ignore[override]  # click's own arguments, all but two by name
        """Run a command line.

        Args:
            cli: The command; None means the app's own group.
            args: The arguments, as a list or as one string.
            kwargs: As for click's CliRunner; ``obj`` is a :class:`.cli.ScriptInfo` for the app by default.
        """
        kwargs.setdefault("obj", ScriptInfo(create_app=lambda: self.app))
        return super().invoke(self.app.cli if cli is None else cli, args, **kwargs)
