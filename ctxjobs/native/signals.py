"""The signals of the native contexts: blinker's, under Flask's names.

Imports blinker alone. Every signal is sent with the app itself as sender, never the proxy; an
``async def`` receiver runs through ``app.ensure_sync``. What is sent with each:

- ``request_started``: nothing; ``request_finished``: ``response``;
- ``got_request_exception``: ``exception``; ``message_flashed``: ``message``, ``category``;
- ``request_tearing_down``, ``appcontext_tearing_down``: ``exc``, the exception or None;
- ``appcontext_pushed``, ``appcontext_popped``: nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blinker import Namespace, Signal

if TYPE_CHECKING:
    from .app import App

_signals = Namespace()

request_started = _signals.signal("request-started")
request_finished = _signals.signal("request-finished")
request_tearing_down = _signals.signal("request-tearing-down")
got_request_exception = _signals.signal("got-request-exception")
appcontext_pushed = _signals.signal("appcontext-pushed")
appcontext_tearing_down = _signals.signal("appcontext-tearing-down")
appcontext_popped = _signals.signal("appcontext-popped")
message_flashed = _signals.signal("message-flashed")


def send(signal: Signal, app: App, **values: Any) -> None:
    """Send *signal* for *app*; costs next to nothing if nobody listens.

    Args:
        signal: One of the signals above.
        app: The sender.
        values: What each receiver gets besides the sender.
    """
    if signal.receivers:
        signal.send(app, _async_wrapper=app.ensure_sync, **values)
