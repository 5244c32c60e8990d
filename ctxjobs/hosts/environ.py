"""The WSGI environ: what of it travels, and how a request is rebuilt from that.

Copying CGI keys is exact where rebuilding from a URL is not (ProxyFix, a prefix, a subdomain,
quoted paths). Header values come from outside and are checked. May import the snapshot's floor; knows no
framework.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Container, Mapping
from typing import Any, Final
from uuid import uuid4

from ctxjobs.inbound import SAFE_ID, unsafe_headers
from ctxjobs.snapshot import RequestData

#: The header by which a front-end server names a request.
_HEADER: Final = "HTTP_X_REQUEST_ID"
#: Where the environ keeps the id that was made for its request.
_REQUEST_ID: Final = "ctxjobs.request_id"

#: What is in a body, by its type.
_PARTS: Final = {
    "application/json": ("json",),
    "application/x-www-form-urlencoded": ("form",),
    "multipart/form-data": ("form", "files"),
}


def read_environ(environ: Mapping[str, Any], keys: Container[str]) -> tuple[dict[str, str], list[str]]:
    """What of *environ* travels, and the keys of the headers that do not.

    Args:
        environ: The request's.
        keys: The keys that travel, where they are strings.
    """
    taken: dict[str, str] = {}
    left: list[str] = []
    for key, value in environ.items():
        if key in keys:
            if type(value) is str:  # as PEP 3333 says; a subclass would not come back as one
                taken[key] = value
        elif key[:5] == "HTTP_" or (key == "CONTENT_TYPE" and value):
            left.append(key)
    return taken, left


def request_id(environ: Mapping[str, Any], local: Container[str] = ()) -> str:
    """Id of the request: that of its header ``X-Request-ID``, or else one made now and kept for it.

    Args:
        environ: The request's.
        local: Keys of headers that do not travel.
    """
    keys = (_REQUEST_ID,) if _HEADER in local else (_HEADER, _REQUEST_ID)
    for key in keys:
        value = environ.get(key)
        if type(value) is str and SAFE_ID.fullmatch(value):
            return value
    made = uuid4().hex
    if isinstance(environ, dict):  # PEP 3333 says it is one
        environ[_REQUEST_ID] = made
    return made


def drop_unsafe(taken: dict[str, str]) -> dict[str, str]:
    """Take from *taken* the headers that must not travel; why, by their keys."""
    reasons = unsafe_headers(taken, "HTTP_")
    for key in reasons:
        del taken[key]
    return reasons


def content_type(environ: Mapping[str, Any]) -> dict[str, str]:
    """The header that tells how to read the body."""
    value = environ.get("CONTENT_TYPE")
    return {"CONTENT_TYPE": value} if isinstance(value, str) else {}


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
