"""Users who are gone or have changed, through a worker of its own: what becomes of each job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis
from support.extensions_app import look_in_job
from support.site import Site
from support.worker_process import run_worker

from ctxjobs import Capture, Override
from ctxjobs.registry import registry

#: In the web process user 7 is an administrator, and there is a user 9.
ROLES = {"7": ["admin"], "8": [], "9": []}
#: In the worker, later, user 7 is none, and user 9 is gone.
APP = ("--app", "support.extensions_app:create_app({'7': ['guest'], '8': []}, stamped=True)")

CALLS: dict[str, dict[str, Any]] = {
    "unchanged": {"context": Override(user="8")},
    "stale-run": {"capture": Capture(stale_user="run")},
    "stale-fail": {},
    "stale-anonymous": {"capture": Capture(stale_user="anonymous")},
    "stale-drop": {"capture": Capture(stale_user="drop")},
    "gone-fail": {"context": Override(user="9")},
    "gone-anonymous": {"context": Override(user="9"), "capture": Capture(gone_user="anonymous")},
    "gone-drop": {"context": Override(user="9"), "capture": Capture(gone_user="drop")},
    "french": {"context": Override(user="8", locale="fr", timezone="Europe/Paris")},
}


def test_each_job_does_what_its_policy_says(
    redis_connection: redis.Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails with the reason, ends as finished without a result, runs as nobody, or runs."""
    monkeypatch.setattr(registry, "apps", {})
    monkeypatch.setenv("CTXJOBS_REDIS_URL", redis_url)
    site = Site(roles=ROLES, stamped=True)
    site.client.get("/in/7")
    jobs: dict[str, Any] = {}

    def enqueue() -> None:
        for name, options in CALLS.items():
            jobs[name] = look_in_job.options(**options).enqueue()

    site.take(first=enqueue)
    with run_worker(tmp_path / "log", "--burst", app=APP, redis_url=redis_url) as worker:
        assert worker.exit_code(timeout_s=30) == 0
        log = worker.log

    results = {name: job.latest_result() for name, job in jobs.items()}
    users = {
        name: result.return_value and result.return_value["user"]
        for name, result in results.items()
        if result.exc_string is None
    }
    assert users == {
        "unchanged": "8",
        "stale-run": "7",
        "stale-anonymous": None,
        "stale-drop": None,
        "gone-anonymous": None,
        "gone-drop": None,
        "french": "8",
    }
    dropped = {
        name for name, result in results.items() if result.exc_string is None and not result.return_value
    }
    assert dropped == {"stale-drop", "gone-drop"}
    assert f"job {jobs['stale-drop'].id}: The job is dropped: user '7' has changed" in log
    assert "UserStaleError: The job runs as user '7'" in results["stale-fail"].exc_string
    assert "UserGoneError: The job runs as user '9'" in results["gone-fail"].exc_string
    french = results["french"].return_value
    assert (french["locale"], french["zone"]) == ("fr", "Europe/Paris")
