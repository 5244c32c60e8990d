"""Which apps and which job functions this process knows.

The allow-list of a worker: an app that is not here has no key and no contexts, a function that is
not here does not run. May import hosts and the floors of values; knows no RQ.
"""

from __future__ import annotations

import ast
import threading
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import Signature
from pathlib import Path
from typing import Any, Protocol

from ctxjobs.config import Settings
from ctxjobs.envelope import APP_ID, Keyring
from ctxjobs.errors import (
    AppIdError,
    AppLoadError,
    ConfigError,
    NoSecretKeyError,
    UnboundJobError,
)
from ctxjobs.hosts import Active, Host, host_for
from ctxjobs.memory import MemoryRedis
from ctxjobs.override import Override
from ctxjobs.policy import Capture


@dataclass(frozen=True, slots=True)
class BoundApp:
    """An app that ctxjobs was bound to.

    Attributes:
        id: Its name in envelopes.
        host: The app, behind the interface of its framework.
        settings: What it says about its jobs.
        capture: Its capture policy.
        keyring: Its keys.
        memory: The Redis of its jobs in inline mode, in this process; None otherwise.
    """

    id: str
    host: Host
    settings: Settings
    capture: Capture
    keyring: Keyring
    memory: MemoryRedis | None = None


class RegisteredFunction(Protocol):
    """A function under ``@job``, as far as others need it.

    Attributes:
        path: Its dotted name.
        func: The function itself.
        parameters: Names of its positional parameters, for messages.
        signature: What it takes.
        positional: How many arguments it takes where all of them are positional.
    """

    path: str
    func: Callable[..., Any]
    parameters: tuple[str, ...]
    signature: Signature
    positional: range

    def prepare(self) -> Any:
        """Capture for one job of it (:class:`ctxjobs.propagation.Prepared`)."""
        ...


@dataclass(slots=True)
class Registry:
    """The apps and job functions of one process.

    Attributes:
        apps: Apps by id; the newest one under each id.
        functions: Job functions by dotted name.
    """

    apps: dict[str, BoundApp] = field(default_factory=dict)
    functions: dict[str, RegisteredFunction] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def bind(self, app: Any) -> BoundApp:
        """Register *app* under its id.

        An app factory that is called again replaces the app it made before.

        Args:
            app: A :class:`ctxjobs.App` or a Flask app.

        Raises:
            AppIdError: The id is missing, malformed, or another app's.
            ConfigError: A setting cannot be used.
            NoInlineRedisError: It is to be in inline mode, and what that needs is not installed.
            NoSecretKeyError: The app has no secret key.
            UnsupportedAppError: The app's framework is not known.
        """
        bound = _bound(host_for(app))
        with self._lock:
            other = self.apps.get(bound.id)
            if other is not None and other.host.import_name != bound.host.import_name:
                raise _taken(bound.id, [other.host.import_name, bound.host.import_name])
            self.apps[bound.id] = bound
        return bound

    def find(self, app: Any) -> BoundApp | None:
        """What *app* was bound as; None if it is not bound, or was replaced by a newer app of its id."""
        # Equal, not identical: a proxy such as current_app is no other app.
        return next((bound for bound in list(self.apps.values()) if bound.host.app == app), None)

    def keyrings(self) -> Mapping[str, Keyring]:
        """The keys of every app, by app id."""
        return {app_id: app.keyring for app_id, app in self.apps.items()}


#: The one of this process.
registry = Registry()


def choose_app(candidates: Collection[BoundApp], function: str) -> tuple[BoundApp, Active | None]:
    """The app that a job of *function* is for, with its active contexts.

    Args:
        candidates: The apps that the job is bound to, the newest last; every app for an unbound job.
        function: Dotted name of the job's function.

    Raises:
        UnboundJobError: Contexts of several of them are active.
    """
    chosen: BoundApp | None = None
    active: Active | None = None
    for app in candidates:
        contexts = app.host.active()
        if contexts is None:
            if active is None:
                chosen = app
        elif active is None:
            chosen, active = app, contexts
        else:
            ids = " and ".join(app.id for app in candidates if app.host.active() is not None)
            raise UnboundJobError(function, f"contexts of the apps {ids} are active at once")
    if chosen is None:
        raise UnboundJobError(function, "no app is bound in this process")
    return chosen, active


def load_app(spec: str) -> Any:
    """Import the app that *spec* names.

    Args:
        spec: ``module:attribute`` or ``module:factory()``; a factory's arguments are literals.

    Raises:
        AppLoadError: It cannot be imported, found or made; has the short traceback of what raised.
    """
    module_name, _, expression = spec.partition(":")
    name, arguments = _parse(spec, expression)
    try:
        target = import_module(module_name)
        for part in name.split("."):
            target = getattr(target, part)
        if arguments is None:
            return target
        args, kwargs = arguments
        return target(*args, **kwargs)  # type: ignore[operator]  # not a callable: told below
    except (Exception, SystemExit) as exc:
        raise AppLoadError(spec, short_traceback(exc)) from exc


def load_apps(specs: Iterable[str]) -> list[BoundApp]:
    """Import the apps that *specs* name, and check that each is bound, under an id of its own.

    Raises:
        AppIdError: Two of them have one id.
        AppLoadError: One cannot be loaded, or was never bound.
    """
    loaded: dict[str, tuple[str, BoundApp]] = {}
    for spec in specs:
        app = load_app(spec)
        bound = registry.find(app)
        if bound is None:
            raise AppLoadError(spec, f"{app!r} is not bound: nothing called CtxJobs(app) or init_app(app)")
        if bound.id in loaded:
            raise _taken(bound.id, [loaded[bound.id][0], spec])
        loaded[bound.id] = (spec, bound)
    return [bound for _, bound in loaded.values()]


def _bound(host: Host) -> BoundApp:
    settings = Settings.from_mapping(host.config)
    capture = settings.capture if settings.capture is not None else Capture()
    if not isinstance(capture, Capture):
        raise ConfigError("CTXJOBS_CAPTURE", f"expected a ctxjobs.Capture, got {type(capture).__name__}")
    system = settings.system_context
    if system is not None and not isinstance(system, Override):
        raise ConfigError(
            "CTXJOBS_SYSTEM_CONTEXT", f"expected a ctxjobs.Override, got {type(system).__name__}"
        )
    memory = MemoryRedis() if settings.inline else None
    return BoundApp(_app_id(host, settings), host, settings, capture, _keyring(host, settings), memory)


def _app_id(host: Host, settings: Settings) -> str:
    app_id = settings.app_id or host.import_name
    if app_id == "__main__":
        raise AppIdError(
            "CTXJOBS_APP_ID",
            "'__main__' names whatever script runs. Set CTXJOBS_APP_ID in the app's config to one name for "
            "the web process and the worker.",
        )
    if not APP_ID.fullmatch(app_id):
        raise AppIdError(
            "CTXJOBS_APP_ID", f"{app_id!r}: use at most 100 letters, digits, dots, dashes and underscores."
        )
    return app_id


def _keyring(host: Host, settings: Settings) -> Keyring:
    key = settings.secret_key or host.config.get("SECRET_KEY")
    if not key:
        raise NoSecretKeyError(
            "SECRET_KEY",
            f"app {host.import_name!r} has none, and every job is signed with it. Set SECRET_KEY (or "
            "CTXJOBS_SECRET_KEY) before CtxJobs(app) or init_app(app), to the same value in the web "
            "process and the worker.",
        )
    fallbacks = settings.secret_key_fallbacks
    if fallbacks is None:
        fallbacks = host.config.get("SECRET_KEY_FALLBACKS") or ()
    if isinstance(fallbacks, str | bytes):
        # Its letters would be taken for keys, and everybody can guess these.
        raise ConfigError("SECRET_KEY_FALLBACKS", "expected a list of keys, got one key; put it into a list.")
    return Keyring([key, *fallbacks])


def _taken(app_id: str, owners: Iterable[str]) -> AppIdError:
    return AppIdError(
        "CTXJOBS_APP_ID",
        f"{app_id!r} is the id of two apps: {' and '.join(owners)}. Give each app's config a CTXJOBS_APP_ID "
        "of its own, so that no job runs in the other one.",
    )


def _parse(spec: str, expression: str) -> tuple[str, tuple[list[Any], dict[str, Any]] | None]:
    """The dotted name in *expression*, and the literal arguments if it is a call."""
    try:
        node = ast.parse(expression, mode="eval").body
        if not isinstance(node, ast.Call):
            return ast.unparse(_dotted(node)), None
        args = [ast.literal_eval(arg) for arg in node.args]
        if any(keyword.arg is None for keyword in node.keywords):
            raise ValueError("** unpacks what is no literal")
        kwargs = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
        return ast.unparse(_dotted(node.func)), (args, kwargs)
    except (SyntaxError, ValueError) as exc:
        raise AppLoadError(spec, "it does not read as 'module:attribute' or 'module:factory()'") from exc


def _dotted(node: ast.expr) -> ast.expr:
    inner = node
    while isinstance(inner, ast.Attribute):
        inner = inner.value
    if not isinstance(inner, ast.Name):
        raise ValueError("not a dotted name")
    return node


def short_traceback(exc: BaseException) -> str:
    """The traceback of *exc*, with the frames of the user's code only: no importlib, none of ours."""
    frames = traceback.extract_tb(exc.__traceback__)
    own = Path(__file__).parent
    users = [
        frame
        for frame in frames
        if own not in Path(frame.filename).parents and "importlib" not in frame.filename
    ]
    lines = traceback.format_list(users[-5:]) + traceback.format_exception_only(exc)
    return "".join(lines).rstrip()
