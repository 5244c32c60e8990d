"""The two context variables, and the proxies that read them.

Lives below every other file of this package and imports none of them at run time. What the
contexts do is in :mod:`.ctx`; here is only where they are kept, and what is said when there is none.

``_cv_app`` and ``_cv_request`` stay the names of the variables: a host that runs code in a copy of
the contextvars without them needs them.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from werkzeug.local import LocalProxy

from ctxjobs.errors import ContextError

if TYPE_CHECKING:
    from .app import App
    from .ctx import AppContext, AppContextGlobals, RequestContext
    from .sessions import SessionMixin
    from .wrappers import Request

#: The text of every error outside of an app context. State, usual cause, fix.
NO_APP_CONTEXT = """\
Working outside of application context.

The app is not known here: no application context is active. The usual cause is a plain function
that a worker, a thread or an executor runs without the context of the code that started it. For a
worker, make it a job: decorated with @job and enqueued with its own enqueue(), it runs in its
caller's context. For a thread or an executor that a view starts, pass it through
copy_current_request_context(). In a script or a test, use 'with app.app_context():'.\
"""

#: The text of every error outside of a request context, also inside of an app context alone.
NO_REQUEST_CONTEXT = """\
Working outside of request context.

There is no request here: no request context is active. The usual cause is a plain function that a
worker, a thread or an executor runs without the context of the request that started it; or a job
that was enqueued outside of a request. For a worker, read what you need in the view and pass it as
an argument; or make it a job, enqueued in the view, whose capture includes the request. For a
thread or an executor that a view starts, pass it through copy_current_request_context(). In a
test, use 'with app.test_request_context():'.\
"""

_cv_app: ContextVar[AppContext] = ContextVar("ctxjobs.app_ctx")
_cv_request: ContextVar[RequestContext] = ContextVar("ctxjobs.request_ctx")


def _proxy(var: ContextVar[Any], name: str | None, unbound_message: str) -> Any:
    # Any: a proxy is typed as what it stands for.
    return LocalProxy(var, name, unbound_message=unbound_message)


app_ctx: AppContext = _proxy(_cv_app, None, NO_APP_CONTEXT)
current_app: App = _proxy(_cv_app, "app", NO_APP_CONTEXT)
g: AppContextGlobals = _proxy(_cv_app, "g", NO_APP_CONTEXT)
request_ctx: RequestContext = _proxy(_cv_request, None, NO_REQUEST_CONTEXT)
request: Request = _proxy(_cv_request, "request", NO_REQUEST_CONTEXT)
session: SessionMixin = _proxy(_cv_request, "session", NO_REQUEST_CONTEXT)


def get_app_context() -> AppContext:
    """Return the innermost application context itself, not a proxy.

    Raises:
        ContextError: None is active.
    """
    ctx = _cv_app.get(None)
    if ctx is None:
        raise ContextError(NO_APP_CONTEXT)
    return ctx


def get_request_context() -> RequestContext:
    """Return the innermost request context itself, not a proxy.

    Raises:
        ContextError: None is active.
    """
    ctx = _cv_request.get(None)
    if ctx is None:
        raise ContextError(NO_REQUEST_CONTEXT)
    return ctx
