"""What is registered on an app before it serves: routes, functions around a request, error handlers.

The tables and the decorators that fill them; what they are used for is in :mod:`.app` and
:mod:`.ctx`. Imports nothing of this package.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.routing import BuildError, Map
from werkzeug.routing import Rule as WerkzeugRule

from ctxjobs.errors import ConfigError, SetupError

#: Registered functions may be ``def`` or ``async def``; their arguments are in the docstrings.
Function = Callable[..., Any]
F = TypeVar("F", bound=Function)


class Rule(WerkzeugRule):
    """A rule that knows whether the app answers OPTIONS for it."""

    automatic_options = False


def setup_method(method: F) -> F:
    """Refuse *method* once the app has dispatched a request: the change would reach some requests only."""

    @wraps(method)
    def checked(self: Setup, *args: Any, **kwargs: Any) -> Any:
        if self.got_first_request:
            raise SetupError(
                f"The setup method {method.__name__!r} can no longer be called on {self!r}: it has handled a "
                "request. Register everything where the app is made, before it serves."
            )
        return method(self, *args, **kwargs)

    return cast("F", checked)


def find_http_code(kind: type[Exception]) -> int | None:
    """Return the status of an HTTP exception class; None for a class without one."""
    return kind.code if issubclass(kind, HTTPException) else None


class Setup:
    """The tables of an app, and the methods that fill them.

    Every method raises SetupError once the app has dispatched its first request; pushing contexts
    does not count.

    Args:
        host_matching: Match the host of each rule too.

    Attributes:
        url_map: Werkzeug's map of the rules.
        view_functions: View for each endpoint.
        url_build_error_handlers: Called with error, endpoint and values where no URL can be built;
            the first result that is not None is the URL.
        got_first_request: Whether a request was dispatched.
    """

    def __init__(self, host_matching: bool) -> None:
        self.url_map = Map(host_matching=host_matching)
        self.view_functions: dict[str, Function] = {}
        self.before_request_functions: list[Function] = []
        self.after_request_functions: list[Function] = []
        self.teardown_request_functions: list[Function] = []
        self.teardown_appcontext_functions: list[Function] = []
        self.url_value_preprocessors: list[Function] = []
        self.url_default_functions: list[Function] = []
        self.url_build_error_handlers: list[Callable[[BuildError, str, dict[str, Any]], str | None]] = []
        self.error_handlers: defaultdict[int | None, dict[type[Exception], Function]] = defaultdict(dict)
        self.got_first_request = False

    @setup_method
    def add_url_rule(
        self, rule: str, endpoint: str | None = None, view_func: Function | None = None, **options: Any
    ) -> None:
        """Register a rule, and its view.

        Args:
            rule: The URL's pattern, such as ``/user/<int:id>``.
            endpoint: Its name; the view's name by default.
            view_func: The view; may also be put into ``view_functions`` later.
            options: As for Werkzeug's Rule; ``methods`` defaults to GET. OPTIONS is answered by the
                app unless it is among them.

        Raises:
            SetupError: The endpoint has another view already, or there is neither an endpoint nor a view
                with a name; or *methods* is one string.
        """
        name: str = getattr(view_func, "__name__", "") if endpoint is None else endpoint
        if not name:
            raise SetupError(f"Rule {rule!r} has no endpoint. Give it one, or a view that has a name.")
        methods = options.pop("methods", None) or ("GET",)
        if isinstance(methods, str):
            raise SetupError(f"Rule {rule!r} has methods={methods!r}. Give a list: methods=[{methods!r}].")
        names = {name.upper() for name in methods}
        new = Rule(rule, methods=names | {"OPTIONS"}, endpoint=name, **options)
        new.automatic_options = "OPTIONS" not in names
        if view_func is not None and self.view_functions.setdefault(name, view_func) is not view_func:
            raise SetupError(
                f"Endpoint {name!r} of {self!r} has another view already. Rename the function, or give "
                "the rule an endpoint of its own."
            )
        self.url_map.add(new)

    @setup_method
    def route(self, rule: str, **options: Any) -> Callable[[F], F]:
        """Register the decorated view for *rule*; *options* as for :meth:`add_url_rule`."""

        def register(view: F) -> F:
            self.add_url_rule(rule, options.pop("endpoint", None), view, **options)
            return view

        return register

    @setup_method
    def get(self, rule: str, **options: Any) -> Callable[[F], F]:
        """Register the decorated view for GET; see :meth:`route`."""
        return self.route(rule, methods=["GET"], **options)

    @setup_method
    def post(self, rule: str, **options: Any) -> Callable[[F], F]:
        """Register the decorated view for POST; see :meth:`route`."""
        return self.route(rule, methods=["POST"], **options)

    @setup_method
    def put(self, rule: str, **options: Any) -> Callable[[F], F]:
        """Register the decorated view for PUT; see :meth:`route`."""
        return self.route(rule, methods=["PUT"], **options)

    @setup_method
    def patch(self, rule: str, **options: Any) -> Callable[[F], F]:
        """Register the decorated view for PATCH; see :meth:`route`."""
        return self.route(rule, methods=["PATCH"], **options)

    @setup_method
    def delete(self, rule: str, **options: Any) -> Callable[[F], F]:
        """Register the decorated view for DELETE; see :meth:`route`."""
        return self.route(rule, methods=["DELETE"], **options)

    @setup_method
    def before_request(self, function: F) -> F:
        """Call *function*, without arguments, before each view; the first result not None is the response."""
        self.before_request_functions.append(function)
        return function

    @setup_method
    def after_request(self, function: F) -> F:
        """Call *function* with each response, the last registered first; it returns the response."""
        self.after_request_functions.append(function)
        return function

    @setup_method
    def teardown_request(self, function: F) -> F:
        """Call *function* with the exception or None when a request context ends, the last one first."""
        self.teardown_request_functions.append(function)
        return function

    @setup_method
    def teardown_appcontext(self, function: F) -> F:
        """Call *function* with the exception or None when an app context ends, the last one first."""
        self.teardown_appcontext_functions.append(function)
        return function

    @setup_method
    def url_value_preprocessor(self, function: F) -> F:
        """Call *function* with endpoint and view arguments, which it may change, before each view."""
        self.url_value_preprocessors.append(function)
        return function

    @setup_method
    def url_defaults(self, function: F) -> F:
        """Call *function* with endpoint and values, which it may change, before each URL is built."""
        self.url_default_functions.append(function)
        return function

    @setup_method
    def errorhandler(self, code_or_class: int | type[Exception]) -> Callable[[F], F]:
        """Register the decorated function, which gets the exception and returns what a view may return.

        Args:
            code_or_class: An HTTP status, or a class of exceptions; the nearest class wins.

        Raises:
            ConfigError: No HTTP exception has that status.
        """
        kind = default_exceptions.get(code_or_class) if isinstance(code_or_class, int) else code_or_class
        if kind is None:
            raise ConfigError(
                f"errorhandler({code_or_class})", "No HTTP exception has this status; name a class."
            )

        def register(function: F) -> F:
            self.error_handlers[find_http_code(kind)][kind] = function
            return function

        return register

    def find_error_handler(self, error: Exception) -> Function | None:
        """Return the handler for *error*: of its status rather than of any, of the nearest class; or None."""
        code = find_http_code(type(error))
        for handlers in (self.error_handlers.get(code, {}), self.error_handlers.get(None, {})):
            for kind in type(error).__mro__:
                if kind in handlers:
                    return handlers[kind]
        return None
