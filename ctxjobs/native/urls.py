"""How an app matches and builds URLs.

Imports :mod:`.config`, :mod:`.ctx`, :mod:`.globals` and :mod:`.setup`, whose map of rules it uses.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from werkzeug.routing import BuildError, MapAdapter
from werkzeug.wsgi import get_host

from ctxjobs.errors import ConfigError, ContextError

from .config import Configured
from .ctx import RequestContext
from .globals import _cv_app, _cv_request
from .setup import Setup
from .wrappers import Request

#: Where a URL's fragment needs no quoting (RFC 3986, section 3.5), besides letters and digits.
_FRAGMENT_SAFE = "%!#$&'()*+,/:;=?@"


class UrlBuilding(Configured, Setup):
    """The rules of an app, with the configuration that says where it is.

    Args:
        import_name: The module's ``__name__``.
        subdomain_matching: Match rules by subdomain too; needs ``SERVER_NAME``.
        host_matching: Match rules by host too.
    """

    def __init__(self, import_name: str, subdomain_matching: bool, host_matching: bool) -> None:
        Configured.__init__(self, import_name)
        Setup.__init__(self, host_matching)
        self.subdomain_matching = subdomain_matching

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return what matches and builds URLs: for *request*, or by the configuration alone.

        Returns:
            None without a request and without ``SERVER_NAME``.

        Raises:
            SecurityError: The request's host is not one of ``TRUSTED_HOSTS``.
        """
        config = self.config
        server_name = config["SERVER_NAME"]
        if request is None:
            if server_name is None:
                return None
            return self.url_map.bind(
                server_name, config["APPLICATION_ROOT"], url_scheme=config["PREFERRED_URL_SCHEME"]
            )
        if config["TRUSTED_HOSTS"] is not None:
            request.trusted_hosts = config["TRUSTED_HOSTS"]
        if request.trusted_hosts is not None:  # binding does not look at them
            get_host(request.environ, request.trusted_hosts)
        subdomain = None
        if self.url_map.host_matching:
            server_name = None  # else it would stand in for the host to be matched
        elif not self.subdomain_matching:
            subdomain = self.url_map.default_subdomain or ""
        return self.url_map.bind_to_environ(request.environ, server_name=server_name, subdomain=subdomain)

    def url_for(
        self,
        endpoint: str,
        /,
        *,
        _anchor: str | None = None,
        _method: str | None = None,
        _scheme: str | None = None,
        _external: bool | None = None,
        **values: Any,
    ) -> str:
        """Return the URL of an endpoint: relative inside of a request, else with scheme and host.

        Args:
            endpoint: The rule's endpoint.
            _anchor: The fragment, without ``#``.
            _method: Build the rule of this method.
            _scheme: Scheme of an external URL.
            _external: Whether to include scheme and host.
            values: The rule's variables; others become the query string.

        Raises:
            ContextError: Neither a request, of a trusted host, nor ``SERVER_NAME``.
            ConfigError: A scheme for a URL that is not external.
            BuildError: No rule fits, and no handler of ``url_build_error_handlers`` gave a URL.
        """
        adapter, in_request = self._find_url_adapter()
        external = (_scheme is not None or not in_request) if _external is None else _external
        if _scheme is not None and not external:
            raise ConfigError("_scheme", "A relative URL has none; leave it out, or give _external=True.")
        for function in self.url_default_functions:
            function(endpoint, values)
        try:
            url = adapter.build(endpoint, values, _method, force_external=external, url_scheme=_scheme)
        except BuildError as error:
            values.update(_anchor=_anchor, _method=_method, _scheme=_scheme, _external=external)
            return self.handle_url_build_error(error, endpoint, values)
        return url if _anchor is None else f"{url}#{quote(_anchor, safe=_FRAGMENT_SAFE)}"

    def _find_url_adapter(self) -> tuple[MapAdapter, bool]:
        """Return the adapter for here and now, and whether it is that of a request."""
        ctx = _cv_request.get(None) or _cv_app.get(None)
        adapter = self.create_url_adapter(None) if ctx is None else ctx.url_adapter
        if adapter is None:
            raise ContextError(
                f"App {self.name!r} cannot build a URL here: there is no request with a trusted host, and "
                "no SERVER_NAME. Set SERVER_NAME, and APPLICATION_ROOT and PREFERRED_URL_SCHEME as needed."
            )
        return adapter, isinstance(ctx, RequestContext)

    def handle_url_build_error(self, error: BuildError, endpoint: str, values: dict[str, Any]) -> str:
        """Return the URL that a handler of ``url_build_error_handlers`` gives instead.

        Raises:
            BuildError: *error*, or the last one that a handler raised.
        """
        for handler in self.url_build_error_handlers:
            try:
                url = handler(error, endpoint, values)
            except BuildError as another:  # noqa: PERF203 - the next handler has its turn
                error = another
            else:
                if url is not None:
                    return url
        raise error
