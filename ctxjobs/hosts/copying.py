"""A copy of active contexts for another thread of this process: what is shared, and what is not.

A snapshot cannot hold objects, and need not here; what it cannot hold is filled in by reference. May import
the floors of values; knows Werkzeug's request, and no framework.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from werkzeug.datastructures import ImmutableMultiDict

from ctxjobs.errors import ContextError
from ctxjobs.hosts.environ import request_id
from ctxjobs.snapshot import RequestData

_UNREAD = """\
The body of this request cannot be read here.

It belongs to the thread that serves the request, which had not read it when this task was submitted. Read it
there first (request.get_data(), request.get_json() or request.form); the task then has it, too.\
"""


def shareable(g: Mapping[str, Any]) -> dict[str, Any]:
    """What of *g* a second ``g`` may hold.

    Not names with a leading underscore: an extension keeps its state there, which it makes anew. Not what has
    to be closed (a connection, a database session, a file): the teardown functions of both would close it.
    """
    return {name: value for name, value in g.items() if not name.startswith("_") and not _is_closed(value)}


def _is_closed(value: Any) -> bool:
    return callable(getattr(type(value), "close", None))  # of the type: a proxy would ask what it stands for


@dataclass(frozen=True, slots=True)
class RequestCopy:
    """What another request is made from.

    Attributes:
        data: The environ's strings, and the raw body if it was read. The objects in an environ belong
            to the request: the server's streams, what middleware and instrumentation keep there.
        form: The form, if it was read; its files stay with the request, which closes them.
        unread: Whether there is a body that was not read.
    """

    data: RequestData
    form: Any = field(repr=False)
    unread: bool

    @classmethod
    def of(cls, request: Any, endpoint: str | None, rule: str | None) -> RequestCopy:
        """Note *request*, without reading anything that it has not read."""
        environ, read = request.environ, vars(request)
        request_id(environ)  # one for both: made now, if there is none, it is copied with the rest
        body: bytes | None = read.get("_cached_data")  # where Werkzeug keeps what get_data() has read
        form = read.get("form")
        length = environ.get("CONTENT_LENGTH") or "0"
        return cls(
            RequestData(
                {key: value for key, value in environ.items() if type(value) is str}, endpoint, rule, body
            ),
            form,
            unread=body is form is None and (length != "0" or bool(environ.get("wsgi.input_terminated"))),
        )

    def fill(self, request: Any) -> None:
        """Give *request*, which was made from :attr:`data`, what that cannot hold."""
        if self.form is not None:
            request.form, request.files = self.form, ImmutableMultiDict()
        if self.unread:
            request.environ["wsgi.input"] = _UnreadBody()
            request.environ["wsgi.input_terminated"] = True


class _UnreadBody(io.RawIOBase):
    """The input of a request whose body another thread may be reading."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> NoReturn:
        raise ContextError(_UNREAD)
