"""Which contexts are pushed on top of those that a job was given.

A request context may bring an application context along, and may be pushed more than once; so which of two
is the inner one is read from the tokens of their pushes. May import :mod:`ctxjobs.hosts.base`; knows no
framework.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Token
from typing import Any, TypeAlias

from ctxjobs.hosts.base import Layer

PushesOf: TypeAlias = Callable[[Any], Sequence[tuple[Token[Any], Any]]]


def innermost_foreign(
    own: Sequence[Layer], app_context: Layer | None, request_context: Layer | None, pushes_of: PushesOf
) -> Layer | None:
    """The innermost context that is not one of *own*, or that is and was pushed once more.

    A request context that brought an application context can only be popped while that one is on
    top; one that reused an application context can be popped at any time.

    Args:
        own: The contexts that may be there.
        app_context: The innermost application context.
        request_context: The innermost request context; None if there is none.
        pushes_of: For each push of a request context its token, and the application context it brought.
    """
    if _contains(own, app_context) and (
        request_context is None or (_contains(own, request_context) and len(pushes_of(request_context)) == 1)
    ):
        return None  # as a job should be left, and nearly always is
    innermost, pushes = app_context, _pushes(request_context, pushes_of)
    if pushes:
        brought = pushes[0][1]
        foreign = not _contains(own, request_context)
        again = len(pushes_of(request_context)) > 1
        if any(one is app_context for _, one in pushes) and not _contains(own, app_context):
            return request_context
        if brought is not None and (foreign or again):
            return innermost  # of the application contexts that bury the one it brought
        if foreign:
            return request_context
    return None if _contains(own, innermost) else innermost


def _pushes(innermost: Layer | None, pushes_of: PushesOf) -> list[tuple[Layer, Any]]:
    """Each push of a request context, innermost first, with the application context that it brought."""
    pushes: list[tuple[Layer, Any]] = []
    context: Any = innermost
    while context is not None:
        depth = sum(one is context for one, _ in pushes) + 1
        recorded = pushes_of(context)
        if depth > len(recorded):  # it ended elsewhere, and a copy of the variables still shows it
            return [*pushes, (context, None)]
        token, brought = recorded[-depth]
        pushes.append((context, brought))
        context = None if token.old_value is Token.MISSING else token.old_value
    return pushes


def _contains(own: Sequence[Layer], context: Any) -> bool:
    for layer in own:  # noqa: SIM110 - a dozen times for each job, and any() takes twice as long
        if layer is context:
            return True
    return False
