"""The request and the response: Werkzeug's, which know their route and their app's limits.

Imports :mod:`.globals` alone of this package. Knows nothing of sessions or of dispatch: the
context writes ``url_rule``, ``view_args`` and ``routing_exception``; here they are only declared.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from werkzeug.datastructures import Headers
from werkzeug.exceptions import BadRequest
from werkzeug.http import http_date
from werkzeug.wrappers import Request as WerkzeugRequest
from werkzeug.wrappers import Response as WerkzeugResponse

from .globals import _cv_app

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.exceptions import HTTPException
    from werkzeug.routing import Rule


class AppJSON:
    """JSON as views and requests use it: Flask's extra types, sorted keys, no spaces."""

    @staticmethod
    def default(value: Any) -> Any:
        """Return *value*, of a type that JSON lacks, as one that it has.

        Raises:
            TypeError: It is no date, Decimal, UUID, dataclass or object with ``__html__``.
        """
        if isinstance(value, date):
            return http_date(value)
        if isinstance(value, (Decimal, UUID)):
            return str(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclasses.asdict(value)
        if (to_html := getattr(value, "__html__", None)) is not None:
            return str(to_html())
        raise TypeError(f"a {type(value).__name__}, which JSON does not have")

    @classmethod
    def dumps(cls, value: Any, **options: Any) -> str:
        """Return *value* as JSON text; *options* as :func:`json.dumps` takes them."""
        defaults = {"default": cls.default, "sort_keys": True, "separators": (",", ":")}
        return json.dumps(value, **{**defaults, **options})

    loads = staticmethod(json.loads)


class _ConfigDefault:
    """An attribute that is the app's config key of the same name until it is set on the instance.

    Args:
        outside: The value where no app context is active: Werkzeug's own.
    """

    def __init__(self, outside: int | None) -> None:
        self._outside = outside

    def __set_name__(self, owner: type, name: str) -> None:
        self._key = name.upper()

    def __get__(self, instance: object, owner: type) -> int | None:
        ctx = _cv_app.get(None)
        return self._outside if ctx is None else cast("int | None", ctx.app.config[self._key])


class Request(WerkzeugRequest):
    """A request that remembers what it matched.

    Attributes:
        url_rule: The rule that matched; None before matching and if none did.
        view_args: Arguments for the view; None as above.
        routing_exception: Why nothing matched (404, 405, redirect, untrusted host); raised at
            dispatch, never at push.
        max_content_length: Bytes of body that are read at most; config ``MAX_CONTENT_LENGTH``.
        max_form_memory_size: Bytes of one form field at most; config ``MAX_FORM_MEMORY_SIZE``.
        max_form_parts: Form fields at most; config ``MAX_FORM_PARTS``.
    """

    json_module: Any = AppJSON
    url_rule: Rule | None = None
    view_args: dict[str, Any] | None = None
    routing_exception: HTTPException | None = None
    max_content_length: int | None = cast(Any, _ConfigDefault(None))
    max_form_memory_size: int | None = cast(Any, _ConfigDefault(500_000))
    max_form_parts: int = cast(Any, _ConfigDefault(1_000))

    @property
    def endpoint(self) -> str | None:
        """Endpoint of the rule that matched, or None."""
        return None if self.url_rule is None else cast("str", self.url_rule.endpoint)

    def on_json_loading_failed(self, e: ValueError | None) -> Any:
        """Refuse a body that is not JSON; say why only in debug mode.

        Raises:
            BadRequest: Always; UnsupportedMediaType if the body does not claim to be JSON.
        """
        ctx = _cv_app.get(None)
        if e is None or (ctx is not None and ctx.app.debug):
            return super().on_json_loading_failed(e)
        raise BadRequest from e


class Response(WerkzeugResponse):
    """A response that is HTML unless it says otherwise.

    Attributes:
        max_cookie_size: Bytes of one cookie before Werkzeug warns; config ``MAX_COOKIE_SIZE``.
    """

    default_mimetype: str | None = "text/html"
    json_module: Any = AppJSON
    max_cookie_size: int = cast(Any, _ConfigDefault(4093))


def split_view_result(result: Any) -> tuple[Any, Any, Any]:
    """Return body, status and headers of what a view returned; None for what it left out.

    Args:
        result: The body alone, or a tuple (body, status), (body, headers) or (body, status, headers).

    Raises:
        ValueError: A tuple of another length.
    """
    if not isinstance(result, tuple):
        return result, None, None
    if len(result) == 2:
        body, second = result
        is_headers = isinstance(second, (Headers, Mapping, tuple, list))
        return (body, None, second) if is_headers else (body, second, None)
    if len(result) == 3:
        return result
    raise ValueError(f"a tuple of {len(result)} items")


def to_response(response_class: type[Response], body: Any, environ: WSGIEnvironment) -> Response:
    """Return *body*, which is not text, as a response.

    Args:
        response_class: The app's.
        body: dict or list (as JSON), a response, or a WSGI app, which is called.
        environ: The request's.

    Raises:
        TypeError: Anything else.
    """
    if isinstance(body, response_class):
        return body
    if isinstance(body, (dict, list)):
        return response_class(f"{AppJSON.dumps(body)}\n", mimetype="application/json")
    if isinstance(body, WerkzeugResponse) or callable(body):
        return cast("Response", response_class.force_type(cast(Any, body), environ))
    raise TypeError("None, or nothing" if body is None else f"a {type(body).__name__}")
