"""Functions for use inside of a context: questions, copies for threads and streams, URLs, flashes.

Imports :mod:`.globals` and :mod:`.signals`. Each is what Flask calls by the same name; what an app
does by itself stands in :mod:`.app`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from .globals import _cv_app, _cv_request, get_app_context, get_request_context
from .signals import message_flashed, send

if TYPE_CHECKING:
    from .ctx import AppContext, RequestContext

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[[Any], Any])
Chunk = TypeVar("Chunk", str, bytes)


def has_app_context() -> bool:
    """Return whether an application context is active."""
    return _cv_app.get(None) is not None


def has_request_context() -> bool:
    """Return whether a request context is active."""
    return _cv_request.get(None) is not None


def after_this_request(function: F) -> F:
    """Call *function* with the response of this request, before the after_request functions.

    Args:
        function: Gets the response, returns it or another one.

    Raises:
        ContextError: No request context is active.
    """
    get_request_context().after_functions.append(function)
    return function


def copy_current_request_context(function: Callable[P, R]) -> Callable[P, R]:
    """Return *function* as one that runs in a context for the current request, wherever it is called.

    Each call has a context of its own, so it may run in several threads at once. It sees the same
    request and session objects, and an empty ``g`` (in this thread, while the app context is on top:
    its ``g``); teardown functions run after each call. An ``async def`` function becomes a plain one.

    Args:
        function: What to run, usually in a thread or an executor.

    Raises:
        ContextError: No request context is active.
    """
    ctx = get_request_context().copy()

    @wraps(function)
    def in_context(*args: P.args, **kwargs: P.kwargs) -> R:
        with ctx.copy():
            return cast("R", ctx.app.ensure_sync(function)(*args, **kwargs))

    return in_context


@overload
def stream_with_context(stream: Iterable[Chunk]) -> Generator[Chunk, None, None]: ...
@overload
def stream_with_context(
    stream: Callable[P, Iterable[Chunk]],
) -> Callable[P, Generator[Chunk, None, None]]: ...
def stream_with_context(stream: Any) -> Any:
    """Keep the request, session and ``g`` for a response that is produced while it is sent.

    The contexts are pushed again while the stream is read, so teardown functions run at the end of
    the request and once more after the stream.

    Args:
        stream: An iterable of chunks, or a generator function (as a decorator).

    Raises:
        ContextError: No request context is active.
    """
    if not callable(stream):
        return _stream(stream, get_app_context(), get_request_context())
    make = cast("Callable[..., Iterable[Any]]", stream)

    @wraps(make)
    def in_context(*args: Any, **kwargs: Any) -> Any:
        return _stream(make(*args, **kwargs), get_app_context(), get_request_context())

    return in_context


def _stream(chunks: Iterable[Any], app_ctx: AppContext, ctx: RequestContext) -> Generator[Any, None, None]:
    with app_ctx, ctx:  # in this order: the request then needs no app context, and so no g, of its own
        try:
            yield from chunks
        finally:
            if (close := getattr(chunks, "close", None)) is not None:
                close()


def url_for(
    endpoint: str,
    *,
    _anchor: str | None = None,
    _method: str | None = None,
    _scheme: str | None = None,
    _external: bool | None = None,
    **values: Any,
) -> str:
    """Return the URL of *endpoint* in the current app; see :meth:`.app.App.url_for`.

    Raises:
        ContextError: No application context is active, or it is alone and SERVER_NAME is not set.
        BuildError: No rule of that endpoint takes these values.
    """
    return get_app_context().app.url_for(
        endpoint, _anchor=_anchor, _method=_method, _scheme=_scheme, _external=_external, **values
    )


def flash(message: str, category: str = "message") -> None:
    """Keep *message* in the session for the next page that asks for it.

    Args:
        message: The text.
        category: What kind it is; any word.

    Raises:
        ContextError: No request context is active, or the app has no secret key.
    """
    ctx = get_request_context()
    # Assigned, not appended to: the session cannot see a change inside of a value.
    ctx.session["_flashes"] = [*ctx.session.get("_flashes", ()), (category, message)]
    send(message_flashed, ctx.app, message=message, category=category)


def get_flashed_messages(with_categories: bool = False, category_filter: Iterable[str] = ()) -> list[Any]:
    """Take the flashed messages out of the session; a second call in a request returns them again.

    Args:
        with_categories: Return pairs (category, message) in place of messages.
        category_filter: Return these categories only; none given means all.

    Raises:
        ContextError: No request context is active.
    """
    ctx = get_request_context()
    flashes = ctx.flashes
    if flashes is None:
        flashes = ctx.flashes = ctx.session.pop("_flashes") if "_flashes" in ctx.session else []
    wanted = set(category_filter)
    flashes = [pair for pair in flashes if not wanted or pair[0] in wanted]
    return flashes if with_categories else [message for _, message in flashes]
