"""``CtxJobs``: the one public way to bind an app, of any host.

May import everything below; holds no state of its own but which apps it was bound to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ctxjobs.connection import connection_of
from ctxjobs.errors import UnboundJobError
from ctxjobs.jobs import JobFunction, Options, decorate
from ctxjobs.registry import BoundApp, choose_app, registry
from ctxjobs.rqjob import Queue

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, Unpack

    P = ParamSpec("P")
else:
    from typing import ParamSpec

    P = ParamSpec("P")

R = TypeVar("R")


class CtxJobs:
    """Jobs of one app, or of every app that a factory makes.

    Args:
        app: The app to bind at once; None to call :meth:`init_app` later.

    Raises:
        ConfigError: As for :meth:`init_app`.
    """

    def __init__(self, app: Any = None) -> None:
        self._apps: dict[str, BoundApp] = {}
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Any) -> None:
        """Bind *app*: read its ``CTXJOBS_*`` settings, and register it under its id.

        Args:
            app: A :class:`ctxjobs.App` or a Flask app, configured.

        Raises:
            AppIdError: Its id is ``__main__``, malformed, or another app's.
            NoSecretKeyError: It has no secret key.
            NoInlineRedisError: It is to be in inline mode, and ``ctxjobs[inline]`` is not installed.
            ConfigError: A setting cannot be used.
            UnsupportedAppError: Its framework is not known.
        """
        bound = registry.bind(app)
        self._apps[bound.id] = bound
        app.extensions["ctxjobs"] = self

    @overload
    def job(self, func: Callable[P, R], /) -> JobFunction[P, R]: ...

    @overload
    def job(self, /, **options: Unpack[Options]) -> Callable[[Callable[P, R]], JobFunction[P, R]]: ...

    def job(self, func: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Make a function a job of this app; outside of any context, it runs in the app's system context.

        Args:
            func: A function on the level of its module.
            options: As for :meth:`ctxjobs.jobs.Enqueuer.options`; they hold for all of its jobs.

        Raises:
            NotAJobError: A worker could not find the function, or could not run it inside its contexts.
        """
        return decorate(self._apps, func, options)

    def queue(self, name: str | None = None) -> Queue:
        """RQ's Queue for code that speaks RQ's own API; what it enqueues captures its context.

        Args:
            name: The queue's name; None means ``CTXJOBS_QUEUE``.

        Raises:
            UnboundJobError: No app was bound.
            ConfigError: Nothing names a Redis.
        """
        if not self._apps:
            raise UnboundJobError("queue()", "no app is bound to this CtxJobs")
        app, _ = choose_app(self._apps.values(), "queue()")
        return Queue(name or app.settings.queue, connection=connection_of(app))
