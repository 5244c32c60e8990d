"""The read audit in Redis: what is recorded, what is not, and the policy that comes out of it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import redis
from support.audit_app import create_app, read_some

from ctxjobs import Audit, Capture, Snapshot, capture, g, job, smallest_policy
from ctxjobs.audit import MAX_FIELDS, audited, record
from ctxjobs.errors import ConfigError, NoAuditError, UnencodableValueError
from ctxjobs.hosts.reads import Reads
from ctxjobs.keys import AUDIT_LIFETIME_S, audit_key
from ctxjobs.registry import registry


@pytest.fixture(autouse=True)
def no_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "apps", {})


def reads(*, snapshot: Snapshot | None = None, **noted: Any) -> Reads:
    """What a run noted."""
    made = Reads(snapshot or Snapshot("shop"))
    for name, value in noted.items():
        setattr(made, name, value)
    return made


def test_runs_add_up(redis_connection: redis.Redis) -> None:
    """Each path has the number of runs; the body has its largest size; a callback is no run."""
    first = reads(captured={"g.a", "g.b", "body"}, read={"g.a", "body"}, body_bytes=9)
    second = reads(captured={"g.a"}, read={"g.a"}, missed={"session.cart"}, withheld={"g.db"}, body_bytes=3)
    record(redis_connection, "shop", "a.job", first, is_run=True)
    record(redis_connection, "shop", "a.job", second, is_run=True)
    record(redis_connection, "shop", "a.job", reads(read={"g.c"}), is_run=False)
    audit = smallest_policy("a.job", app="shop", connection=redis_connection)
    assert audit == Audit(
        "a.job",
        "shop",
        runs=2,
        captured={"g.a": 2, "g.b": 1, "body": 1},
        read={"g.a": 2, "body": 1, "g.c": 1},
        missed={"session.cart": 1},
        withheld={"g.db": 1},
        body_bytes=9,
    )
    assert audit.unread == ("g.b",)


def test_an_audit_expires(redis_connection: redis.Redis) -> None:
    """Thirty days after the last run."""
    record(redis_connection, "shop", "a.job", reads(), is_run=True)
    assert AUDIT_LIFETIME_S - 60 < redis_connection.ttl(audit_key("shop", "a.job")) <= AUDIT_LIFETIME_S


def test_an_audit_does_not_grow_without_end(redis_connection: redis.Redis) -> None:
    """A function that makes up names fills no Redis; what is known goes on being counted."""
    record(redis_connection, "shop", "a.job", reads(read={"g.known"}), is_run=True)
    many = {"g.known", "g." + "x" * 200, "session.\n", *(f"session.cart_{number}" for number in range(600))}
    record(redis_connection, "shop", "a.job", reads(read=many), is_run=True)
    fields = redis_connection.hgetall(audit_key("shop", "a.job"))
    assert (len(fields), fields[b"runs"], fields[b"read g.known"]) == (MAX_FIELDS, b"2", b"2")
    assert not [name for name in fields if len(name) > 150 or b"\n" in name]


def test_a_redis_that_is_away_costs_no_job(caplog: pytest.LogCaptureFixture) -> None:
    """The job has its outcome; what could not be recorded is logged."""
    away = redis.Redis(unix_socket_path="/nowhere/redis.sock")
    with caplog.at_level(logging.WARNING, "ctxjobs"):
        record(away, "shop", "a.job", reads(read={"g.a"}), is_run=True)
    assert "its audit was not recorded (ConnectionError" in caplog.text


@pytest.mark.parametrize(("share", "expected"), [(0, 0), (1, 200), (0.5, range(50, 151))])
def test_a_share_of_the_runs_is_audited(share: float, expected: Any) -> None:
    """``CTXJOBS_AUDIT`` may be a sample rate; 0 notes nothing at all."""
    create_app("native", CTXJOBS_AUDIT=share)
    count = sum(audited(Snapshot("audited"), "7") is not None for _ in range(200))
    assert count in expected if isinstance(expected, range) else count == expected


@pytest.mark.parametrize("share", ["yes", 2, -1, "nan"])
def test_what_is_no_share_is_refused(share: Any) -> None:
    """The setting says what is expected."""
    with pytest.raises(ConfigError, match="CTXJOBS_AUDIT"):
        create_app("native", CTXJOBS_AUDIT=share)


def test_inline_jobs_are_audited() -> None:
    """In tests, without a Redis: the audit lies where the jobs lie."""
    client = create_app("native", CTXJOBS_INLINE=True).test_client()
    assert client.get("/").status_code == 200
    audit = smallest_policy(read_some, app="audited")
    assert (audit.runs, dict(audit.read)) == (1, {"g.tenant": 1, "g.locale": 1})


def test_an_app_is_given_or_named() -> None:
    """The app itself, as everywhere, or its id, where it is not at hand."""
    app = create_app("native", CTXJOBS_INLINE=True)
    app.test_client().get("/")
    assert smallest_policy(read_some, app=app) == smallest_policy(read_some, app="audited")


@job
def fail_then() -> None:
    raise ValueError("the job failed")


def test_a_failed_job_is_audited() -> None:
    """A bare miss fails its job, and is what an audit is for."""
    app = create_app("native", CTXJOBS_INLINE=True)
    with app.app_context():
        fail_then.enqueue()
    assert smallest_policy(fail_then).runs == 1


AUDIT = Audit(
    "shop.remind",
    "shop",
    runs=7,
    captured={"g.tenant": 7, "g.order": 5, "session.cart": 7, "headers.Accept": 7, "headers.X-Plan": 7},
    read={"g.tenant": 7, "g.order": 5, "headers.Accept": 1, "headers.X-Plan": 2, "body": 1},
    missed={"session.plan": 1, "g._login_user": 7, "headers.X-Tenant": 1},
    withheld={"g.order": 2, "g.db": 7, "cookies": 1},
    body_bytes=120,
)


def test_the_smallest_policy_takes_what_was_read_and_missed() -> None:
    """What was never read is left out; what extensions ask for, and what cannot travel, is not added."""
    policy = AUDIT.policy(Capture(hidden=("g.tenant",), g="public", session=("cart",)))
    assert (policy.g, policy.session, policy.body_bytes) == (("order", "tenant"), ("plan",), 120)
    assert policy.headers == (*Capture().headers, "X-Plan", "X-Tenant")
    assert policy.hidden == ("g.tenant",)


def test_what_a_rule_skipped_now_and_then_is_no_error_later() -> None:
    """A name fails the enqueue, so the policy says that this one is skipped, as it was."""
    assert AUDIT.policy().on_error == {"g.order": "skip"}
    app = create_app("native")
    with app.app_context():
        g.order = object()
        assert not capture(AUDIT.policy()).g
        with pytest.raises(UnencodableValueError):
            capture(Capture(g=("order",)))


def test_a_body_that_was_missed_leaves_its_size_open() -> None:
    """Nobody knows how large it was."""
    audit = Audit("shop.remind", "shop", 1, {}, {}, {"body": 1}, {}, 0)
    assert audit.policy(Capture(body_bytes=50)).body_bytes == 50
    assert "add body_bytes=..." in audit.source()


@pytest.mark.parametrize(
    "audit", [AUDIT, Audit("shop.remind", "shop", 1, {}, {}, {}, {}, 0)], ids=["much", "none"]
)
@pytest.mark.parametrize(
    "base", [Capture(), Capture(local=("g.a",), on_error={"g.order": "fail"})], ids=["", "own"]
)
def test_the_source_is_that_policy(audit: Audit, base: Capture) -> None:
    """What is pasted derives the same policy from the app's."""
    names: dict[str, Any] = {}
    exec(audit.source(), names)
    assert names["policy_of_remind"](base) == audit.policy(base)


def test_an_audit_reads_as_a_report() -> None:
    """Each path on a line, with how often."""
    lines = str(AUDIT).splitlines()
    assert lines[0] == "shop.remind in app shop: 7 audited run(s)"
    assert {"  read g.tenant (7)", "  missed session.plan (1)", "  withheld g.db (7)"} <= set(lines)
    assert "  never read session.cart" in lines


def test_without_an_audit_there_is_no_policy(redis_connection: redis.Redis) -> None:
    """An empty policy must not be taken for the smallest one."""
    with pytest.raises(NoAuditError, match=r"No run of a\.job in app 'shop' was audited"):
        smallest_policy("a.job", app="shop", connection=redis_connection)


def test_which_app_is_asked_for() -> None:
    """With no app bound, or several, it has to be named."""
    with pytest.raises(ConfigError, match="the apps bound here are: none"):
        smallest_policy("a.job")


def test_an_app_that_is_not_bound_is_named_in_vain() -> None:
    """Its Redis is not known."""
    create_app("native")
    with pytest.raises(ConfigError, match="the apps bound here are: audited"):
        smallest_policy("a.job", app="other")
