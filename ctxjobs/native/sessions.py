"""Sessions: what a session is, how one is opened and saved, and the signed cookie that does it.

Imports nothing of this package at run time. A session interface gets app, request and response as
arguments and knows nothing of contexts; when it is called is decided in :mod:`.ctx`.

The cookie is the one that Flask writes (salt, signature and tags), so that an app of each kind
under one secret key read each other's. One difference: a string that Flask marked as safe HTML is
read as a plain string.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, MutableMapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.datastructures import CallbackDict
from werkzeug.http import http_date, parse_date

from ctxjobs.errors import ContextError

if TYPE_CHECKING:
    from .app import App
    from .wrappers import Request, Response


class SessionMixin(MutableMapping[str, Any]):
    """What every session object has besides being a dict.

    Attributes:
        new: Whether it was created just now, where the interface can tell.
        modified: Whether it has to be saved; True where the interface cannot tell.
        accessed: Whether the request looked at it at all; the response then varies by cookie.
    """

    new = False
    modified = True
    accessed = False

    @property
    def permanent(self) -> bool:
        """Whether it outlives the browser, for ``PERMANENT_SESSION_LIFETIME``."""
        return bool(self.get("_permanent", False))

    @permanent.setter
    def permanent(self, value: bool) -> None:
        self["_permanent"] = bool(value)


def _mark_modified(session: Any) -> None:
    session.modified = True


class SecureCookieSession(CallbackDict[str, Any], SessionMixin):  # pyright: ignore[reportIncompatibleMethodOverride]  # Werkzeug's update() takes less
    """A session that knows whether it was changed; a change inside a value has to be told to it.

    Args:
        initial: Its content.
    """

    modified = False

    def __init__(self, initial: dict[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        super().__init__(initial, _mark_modified)


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise ContextError(
        "The session is unavailable because no secret key was set. It can be read, and is empty; to write "
        "to it, set app.secret_key to something unique and secret."
    )


_refuse_write: Any = _refuse  # one refusal for methods of several types


class NullSession(SecureCookieSession):
    """The session of an app without a secret key: empty, and every write raises ContextError."""

    __setitem__ = __delitem__ = __ior__ = _refuse_write
    clear = pop = popitem = setdefault = update = _refuse_write


class SessionInterface:
    """How an app opens and saves sessions; subclass it and assign ``app.session_interface``."""

    null_session_class: type[NullSession] = NullSession

    def open_session(self, app: App, request: Request) -> SessionMixin | None:
        """Return the session of *request*; called once, when its context is pushed, before routing.

        Args:
            app: The app.
            request: Its request, already active.

        Returns:
            The session; None for "not possible", which becomes a null session.
        """
        raise NotImplementedError

    def save_session(self, app: App, session: SessionMixin, response: Response) -> None:
        """Store *session*; called after the after_request functions, never with a null session.

        Args:
            app: The app.
            session: What :meth:`open_session` returned.
            response: Where to write a cookie.
        """
        raise NotImplementedError

    def make_null_session(self, app: App) -> NullSession:
        """Return the stand-in for a session that could not be opened."""
        return self.null_session_class()

    def is_null_session(self, obj: object) -> bool:
        """Return whether *obj* is such a stand-in."""
        return isinstance(obj, self.null_session_class)

    def get_cookie_options(self, app: App) -> dict[str, Any]:
        """Return what the ``SESSION_COOKIE_*`` keys say, as arguments of ``response.set_cookie``."""
        config = app.config
        options = {
            "key": config["SESSION_COOKIE_NAME"],
            "domain": config["SESSION_COOKIE_DOMAIN"],
            "path": config["SESSION_COOKIE_PATH"] or config["APPLICATION_ROOT"],
            "secure": config["SESSION_COOKIE_SECURE"],
            "httponly": config["SESSION_COOKIE_HTTPONLY"],
            "samesite": config["SESSION_COOKIE_SAMESITE"],
        }
        if config["SESSION_COOKIE_PARTITIONED"]:  # Werkzeug knows it from 3.1 on
            options["partitioned"] = True
        return options

    def get_expiration_time(self, app: App, session: SessionMixin) -> datetime | None:
        """Return when the cookie expires; None for the end of the browser's session."""
        return datetime.now(timezone.utc) + app.permanent_session_lifetime if session.permanent else None

    def should_set_cookie(self, app: App, session: SessionMixin) -> bool:
        """Return whether the response needs the cookie: changed, or permanent and refreshed."""
        return session.modified or (session.permanent and app.config["SESSION_REFRESH_EACH_REQUEST"])


class SecureCookieSessionInterface(SessionInterface):
    """Sessions inside a signed cookie: readable by the user, not changeable."""

    salt = "cookie-session"
    session_class = SecureCookieSession

    def get_signing_serializer(self, app: App) -> URLSafeTimedSerializer | None:
        """Return what signs and verifies; None if the app has no secret key.

        It signs with ``SECRET_KEY`` and verifies with that and each of ``SECRET_KEY_FALLBACKS``.
        """
        if not app.secret_key:
            return None
        keys = [*(app.config["SECRET_KEY_FALLBACKS"] or ()), app.secret_key]  # the last one signs
        options = {"key_derivation": "hmac"}
        return URLSafeTimedSerializer(keys, self.salt, serializer=TaggedJSON, signer_kwargs=options)

    def open_session(self, app: App, request: Request) -> SecureCookieSession | None:
        """Return the session in the cookie, a new one if that is absent, too old or not ours."""
        if not app.secret_key:
            return None
        cookie = request.cookies.get(app.config["SESSION_COOKIE_NAME"])
        serializer = self.get_signing_serializer(app) if cookie else None
        if not cookie or serializer is None:
            return self.session_class()
        max_age_s = int(app.permanent_session_lifetime.total_seconds())
        try:
            return self.session_class(serializer.loads(cookie, max_age=max_age_s))
        except BadSignature:
            return self.session_class()

    def save_session(self, app: App, session: SessionMixin, response: Response) -> None:
        """Write the cookie if it has to be written; delete it if the session was emptied."""
        if session.accessed:
            response.vary.add("Cookie")
        if not session:
            if session.modified:
                response.delete_cookie(**self.get_cookie_options(app))
                response.vary.add("Cookie")
            return
        serializer = self.get_signing_serializer(app)
        if serializer is None or not self.should_set_cookie(app, session):
            return
        value = serializer.dumps(dict(session))
        expires = self.get_expiration_time(app, session)
        response.set_cookie(value=value, expires=expires, **self.get_cookie_options(app))
        response.vary.add("Cookie")


# --- What the cookie holds: JSON, in which {tag: text} stands for a type that JSON lacks ----------

_TAGS: tuple[tuple[type, str, Callable[[Any], Any]], ...] = (
    (tuple, " t", lambda value: [_tag(item) for item in value]),
    (bytes, " b", lambda value: b64encode(value).decode("ascii")),
    (UUID, " u", lambda value: value.hex),
    (datetime, " d", http_date),
)
_UNTAG: dict[str, Callable[[Any], Any]] = {
    " t": tuple,
    " b": b64decode,
    " u": UUID,
    " d": parse_date,
    " m": str,  # Flask's safe HTML
    " di": lambda value: {key[:-2]: item for key, item in value.items()},  # see _tag
}


def _tag(value: Any) -> Any:
    if isinstance(value, dict):
        if len(value) == 1 and (key := next(iter(value))) in _UNTAG:
            return {" di": {f"{key}__": _tag(value[key])}}  # a dict that only looks like a tag
        return {key: _tag(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_tag(item) for item in value]
    for type_, key, to_json in _TAGS:
        if isinstance(value, type_):
            return {key: to_json(value)}
    return value


def _untag(value: dict[str, Any]) -> Any:
    if len(value) == 1 and (key := next(iter(value))) in _UNTAG:
        return _UNTAG[key](value[key])
    return value


class TaggedJSON:
    """JSON that also holds tuple, bytes, UUID and datetime (whole seconds, UTC)."""

    @staticmethod
    def dumps(value: Any) -> str:
        """Return *value* as compact text; TypeError for a type that it does not hold."""
        return json.dumps(_tag(value), separators=(",", ":"))

    @staticmethod
    def loads(text: str | bytes) -> Any:
        """Return the value of *text*."""
        return json.loads(text, object_hook=_untag)
