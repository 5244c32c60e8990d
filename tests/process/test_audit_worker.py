"""The read audit through workers of their own, ours and RQ's."""

from __future__ import annotations

import pytest
from redis import Redis
from support.audit_app import create_app, read_some
from support.both_hosts import WEBS
from support.matrix.workers import WORKERS, run_worker

from ctxjobs import Capture, smallest_policy
from ctxjobs.keys import audit_key
from ctxjobs.registry import registry


@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize("host", WEBS)
def test_a_worker_records_what_its_jobs_read(
    redis_connection: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch, worker: str, host: str
) -> None:
    """Names that were read and missed are in Redis, no value is, and they make the smallest policy."""
    monkeypatch.setattr(registry, "apps", {})
    monkeypatch.setenv("CTXJOBS_REDIS_URL", redis_url)
    client = create_app(host).test_client()
    for _ in range(2):
        assert client.get("/").status_code == 200
    run_worker(worker, [f"support.audit_app:create_app({host!r})"], redis_url, ["default"])

    audit = smallest_policy(read_some)
    callback = {"g.locale": 2} if worker == "ctxjobs" else {}  # RQ's own worker gives callbacks no contexts
    assert (audit.runs, dict(audit.read)) == (2, {"g.tenant": 2, **callback})
    assert (dict(audit.missed), audit.policy(Capture()).g) == (
        {"session.cart": 2},
        ("locale", "tenant") if callback else ("tenant",),
    )
    assert "g.unused" in audit.unread
    assert b"SECRET" not in repr(redis_connection.hgetall(audit_key("audited", read_some.path))).encode()
