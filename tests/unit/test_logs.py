"""The filter for the standard library's logging: the ids of a view and of its job, and nothing forged."""

from __future__ import annotations

import io
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from support.both_hosts import WEBS, Web

from ctxjobs import capture
from ctxjobs.logs import ContextFilter
from ctxjobs.propagation import run_job
from ctxjobs.registry import registry


@pytest.fixture(params=WEBS)
def web(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Web:
    monkeypatch.setattr(registry, "apps", {})
    return WEBS[request.param]


def ids() -> tuple[str, str, str]:
    """Ids of a record that is logged here."""
    record: Any = logging.makeLogRecord({"msg": "said"})
    assert ContextFilter().filter(record)
    return record.job_id, record.request_id, record.app_id


def test_outside_of_everything_there_are_no_ids(web: Web) -> None:
    """A format string with the ids works everywhere."""
    web.app()
    assert ids() == ("-", "-", "-")


def test_view_and_job_share_the_request_id(web: Web) -> None:
    """The line of a job leads to the request that it was enqueued in."""
    app = web.app(CTXJOBS_APP_ID="depot")
    with app.test_request_context("/", headers={"X-Request-ID": "r-1"}):
        snapshot = capture()
        assert ids() == ("-", "r-1", "depot")
    job = SimpleNamespace(id="job-1", snapshot=snapshot)
    assert run_job(job, snapshot, ids) == ("job-1", "r-1", "depot")
    assert ids() == ("-", "-", "-")


@pytest.mark.parametrize(
    ("request_id", "expected"),
    [
        ("x" * 128, "x" * 128),
        ("x" * 129, "-"),
        ("4bf92f3577b34da6/a+b=:._-@", "4bf92f3577b34da6/a+b=:._-@"),
        ("ok\nroot logged in", "-"),
        ("ok\n", "-"),
        ("<b>", "-"),
        ("\u00e9", "-"),
        ("", "-"),
    ],
)
def test_a_request_id_that_is_not_safe_is_left_out(web: Web, request_id: str, expected: str) -> None:
    """No header can forge a line of the log, or fill it."""
    with web.app().test_request_context("/", environ_overrides={"HTTP_X_REQUEST_ID": request_id}):
        assert ids()[1] == expected


def test_a_handler_formats_them(web: Web) -> None:
    """The filter stands on a handler, and the records of every logger have the ids there."""
    handler = logging.StreamHandler(written := io.StringIO())
    handler.addFilter(ContextFilter())
    handler.setFormatter(logging.Formatter("%(app_id)s %(message)s"))
    logger = logging.getLogger("ctxjobs.tests.logs")
    logger.addHandler(handler)
    try:
        with web.app().app_context():
            logger.warning("hello")
    finally:
        logger.removeHandler(handler)
    assert written.getvalue() == "shop hello\n"
