"""The WSGI environ: what of it travels, and how a request is rebuilt from that.

Copying CGI keys is exact where rebuilding from a URL is not (ProxyFix, a prefix, a subdomain,
quoted paths). Header values come from outside and are checked. May import the policy's and the snapshot's
floor; knows no framework.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import uuid4

from ctxjobs.inbound import SAFE_ID, unsafe_headers
from ctxjobs.snapshot import RequestData

#: Where the environ keeps the id that was made for its request.
_REQUEST_ID: Final = "ctxjobs.request_id"

#: CGI keys that say which request it was. ``REMOTE_USER`` is the identity a front-end server vouches for.
_CGI_KEYS: Final = (
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REMOTE_USER",
    "wsgi.url_scheme",
)

#: What is in a body, by its type.
_PARTS: Final = {
    "application/json": ("json",),
    "application/x-www-form-urlencoded": ("form",),
    "multipart/form-data": ("form", "files"),
}


def read_environ(environ: Mapping[str, Any], headers: Iterable[str]) -> dict[str, str]:
    """The keys of *environ* that travel: the CGI keys, and the request headers named in *headers*."""
    wanted = (*_CGI_KEYS, *("HTTP_" + name.upper().replace("-", "_") for name in headers))
    return {key: value for key in wanted if isinstance(value := environ.get(key), str)}


def request_id(environ: Mapping[str, Any]) -> str:
    """Id of the request: that of its header ``X-Request-ID``, or else one made now and kept for it."""
    for key in ("HTTP_X_REQUEST_ID", _REQUEST_ID):
        if SAFE_ID.fullmatch(str(environ.get(key, ""))):
            return str(environ[key])
    made = uuid4().hex
    if isinstance(environ, dict):  # PEP 3333 says it is one
        environ[_REQUEST_ID] = made
    return made


def drop_unsafe(taken: dict[str, str]) -> dict[str, str]:
    """Take from *taken* the headers that must not travel; why, by their names as the environ spells them."""
    reasons = unsafe_headers({key[5:]: value for key, value in taken.items() if key.startswith("HTTP_")})
    for name in reasons:
        del taken[f"HTTP_{name}"]
    return reasons


def content_type(environ: Mapping[str, Any]) -> dict[str, str]:
    """The header that tells how to read the body."""
    value = environ.get("CONTENT_TYPE")
    return {"CONTENT_TYPE": value} if isinstance(value, str) else {}


def left_out_headers(environ: Mapping[str, Any], taken: Mapping[str, str]) -> list[str]:
    """The headers of *environ*, as it spells them, that are not among the keys that were *taken*."""
    names = [key[5:] for key in environ if key.startswith("HTTP_") and key not in taken]
    if environ.get("CONTENT_TYPE") and "CONTENT_TYPE" not in taken:
        names.append("CONTENT_TYPE")
    return names


def left_out_parts(environ: Mapping[str, Any], body: bytes | None) -> list[str]:
    """What of the request does not travel with the headers, as attributes of a request name it.

    Args:
        environ: The request's.
        body: What was taken of its body.
    """
    parts = ["cookies"] if "HTTP_COOKIE" in environ else []
    has_body = environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ
    if has_body and body is None:
        mimetype = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        parts += _PARTS.get(mimetype, ("json",) if mimetype.endswith("+json") else ())
    return parts


def rebuild_environ(request: RequestData) -> dict[str, Any]:
    """A WSGI environ for *request*, with streams of its own."""
    body = request.body or b""
    return {
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "wsgi.version": (1, 0),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **request.environ,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
