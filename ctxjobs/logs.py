"""``ContextFilter``: which job, request and app a line of the standard library's logging belongs to.

May import the floor of propagation and below. Ids that come from outside are checked before they
get into a log: a line break in one would forge log lines.
"""

from __future__ import annotations

import logging
from typing import Final

from ctxjobs.inbound import SAFE_ID
from ctxjobs.propagation import current_job
from ctxjobs.registry import registry

_NONE: Final = "-"


class ContextFilter(logging.Filter):
    """Adds ``job_id``, ``request_id`` and ``app_id`` to each record; lets every record pass.

    Add it to a handler, so that it sees the records of all loggers. An id that there is none of, or that
    is longer than 128 characters or has others than letters, digits and ``._:/+=@-``, is ``"-"``.
    The request id is that of the header ``X-Request-ID``, in a view and in the jobs that it enqueues.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the ids to *record*."""
        app_id, request_id = _active_ids()
        record.job_id = _safe(current_job.id if current_job else None)
        record.app_id, record.request_id = _safe(app_id), _safe(request_id)
        return True


def _active_ids() -> tuple[str | None, str | None]:
    """Id of the app that is active, and of its request."""
    for app in list(registry.apps.values()):
        active = app.host.active()
        if active is not None:
            return app.id, (app.host.read_environ(active) or {}).get("HTTP_X_REQUEST_ID")
    return None, None


def _safe(value: str | None) -> str:
    return value if value is not None and SAFE_ID.fullmatch(value) else _NONE
