"""What the conformance tests need to know of a framework: the hooks to override, and helpers on them.

May import the public floors of ctxjobs and Werkzeug; imports no framework and no test framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from werkzeug.routing import IntegerConverter
from werkzeug.test import Client, EnvironBuilder, TestResponse

from ctxjobs.extension import CtxJobs
from ctxjobs.hosts import Host, host_for, register_host
from ctxjobs.policy import Capture
from ctxjobs.propagation import capture
from ctxjobs.registry import registry
from ctxjobs.snapshot import Snapshot

#: Takes all that a snapshot can hold.
EVERYTHING = Capture(session=("user", "cart"), body_bytes=1000)


class FailingConverter(IntegerConverter):
    """An URL converter that breaks for the number 666, as one does whose database is gone."""

    def to_python(self, value: str) -> Any:
        """The number.

        Raises:
            LookupError: It is 666.
        """
        if value == "666":
            raise LookupError("no such number")
        return super().to_python(value)


class Journal(list[tuple[str, str, Any]]):
    """What teardown functions were called with: their name, where they ran, their exception."""

    def calls(self) -> list[tuple[str, Any]]:
        """Name and exception of each call."""
        return [(name, exc) for name, _, exc in self]


class HostHarness:
    """The hooks of :class:`ctxjobs.testing.HostConformance`.

    Attributes:
        host_class: The host, which is registered while the tests run.
        web: Where the framework has ``current_app g request session after_this_request url_for``.
    """

    host_class: ClassVar[type[Host]]
    web: ClassVar[Any]

    # --- to be overridden -----------------------------------------------------------------

    def make_app(self, import_name: str) -> Any:
        """Return a new app.

        Args:
            import_name: The module that it pretends to be made in.
        """
        raise NotImplementedError

    def add_view(self, app: Any, rule: str, endpoint: str, view: Callable[..., Any]) -> None:
        """Register *view* for GET and POST."""
        app.add_url_rule(rule, endpoint, view, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])

    def on_teardown(self, app: Any, of_request: Callable[..., Any], of_app: Callable[..., Any]) -> None:
        """Register a function for the end of each request context, and one for each application context."""
        app.teardown_request(of_request)
        app.teardown_appcontext(of_app)

    def app_context(self, app: Any) -> Any:
        """Return a new application context, not pushed, with ``push``, ``pop(exc)`` and ``with``."""
        return app.app_context()

    def request_context(self, app: Any, path: str = "/", **request: Any) -> Any:
        """Return a new request context likewise; *request* as for Werkzeug's EnvironBuilder."""
        return app.request_context(EnvironBuilder(path, **request).get_environ())

    def ask(self, app: Any, path: str, **request: Any) -> TestResponse:
        """Send the app a request, through WSGI."""
        return Client(app).open(path, **request)

    def has_request(self) -> bool:
        """Whether a request is active."""
        return bool(self.web.request)

    # --- helpers --------------------------------------------------------------------------

    def setup_method(self) -> None:
        """Start with no app bound."""
        register_host(self.host_class)
        self._apps_before = dict(registry.apps)
        registry.apps.clear()

    def teardown_method(self) -> None:
        """End with the apps that were bound before, and with no context active."""
        registry.apps.clear()
        registry.apps.update(self._apps_before)
        left = self.active_contexts()
        for variable in self.host_class.context_vars() if left else ():
            variable.set(None)  # for the tests that follow; this one has failed
        assert left == []

    def app(self, name: str = "conformance", **config: Any) -> Any:
        """An app that is bound under *name*, with pages at ``/`` and ``/<number>/<rest>``."""
        app = self.make_app(name)
        app.config.update({"SECRET_KEY": "k" * 32, "CTXJOBS_APP_ID": name, **config})
        app.url_map.converters["failing"] = FailingConverter
        self.add_view(app, "/", "home", lambda: "home")
        self.add_view(app, "/<failing:number>/<path:rest>", "page", lambda number, rest: "page")
        CtxJobs(app)
        return app

    def host(self, app: Any) -> Host:
        """The host of *app*."""
        return host_for(app)

    def active_contexts(self) -> list[Any]:
        """The innermost context in each of the framework's variables, where there is one."""
        values = [variable.get(None) for variable in self.host_class.context_vars()]
        return [value for value in values if value is not None]

    def captured(
        self, app: Any, path: str = "/", fill: Callable[[], Any] | None = None, **request: Any
    ) -> Snapshot:
        """Capture everything in a request.

        Args:
            app: The app.
            path: The URL's path.
            fill: Called in the request first, to fill ``g`` and the session.
            request: As for :meth:`request_context`.
        """
        with self.request_context(app, path, **request):
            if fill is not None:
                fill()
            return capture(EVERYTHING)

    def journal(self, app: Any) -> Journal:
        """Register teardown functions that write into the journal that is returned."""
        journal = Journal()
        web = self.web

        def of_request(exc: BaseException | None) -> None:
            journal.append(("request", web.request.path, exc))

        def of_app(exc: BaseException | None) -> None:
            web.g.torn_down = getattr(web.g, "torn_down", 0) + 1
            journal.append(("app", getattr(web.g, "mark", ""), exc))

        self.on_teardown(app, of_request, of_app)
        return journal

    def picture(self) -> dict[str, Any]:
        """What code sees of its contexts."""
        web = self.web
        request = web.request
        return {
            "app": web.current_app._get_current_object(),  # noqa: SLF001 - how a proxy says what it stands for
            "method": request.method,
            "url": request.url,
            "path": request.path,
            "root": request.root_path,
            "query": request.query_string,
            "args": request.args.to_dict(flat=False),
            "address": request.remote_addr,
            "languages": list(request.accept_languages.values()),
            "endpoint": request.endpoint,
            "view_args": request.view_args,
            "body": request.get_data(),
            "external": web.url_for("page", number=7, rest="ü/x", _external=True),
            "relative": web.url_for("home"),
            "g": {name: getattr(web.g, name, None) for name in ("tenant", "number")},
            "session": {name: web.session.get(name) for name in ("user", "cart")},
        }


class Calls(list[str]):
    """Names of the methods that were called on a watched object."""


@contextmanager
def watched(owner: Any, attribute: str) -> Iterator[Calls]:
    """Write down which methods of an object are called, and let them through.

    Args:
        owner: What has the object.
        attribute: Under which name.
    """
    calls = Calls()
    original = getattr(owner, attribute)

    class Watch:
        def __getattr__(self, name: str) -> Any:
            value = getattr(original, name)
            if callable(value) and not isinstance(value, type):
                calls.append(name)
            return value

    setattr(owner, attribute, Watch())
    try:
        yield calls
    finally:
        setattr(owner, attribute, original)


@contextmanager
def raises(expected: type[BaseException]) -> Iterator[list[BaseException]]:
    """The block must raise *expected*; the list holds the error afterwards."""
    caught: list[BaseException] = []
    try:
        yield caught
    except expected as error:
        caught.append(error)
    assert caught, f"{expected.__name__} was not raised"
