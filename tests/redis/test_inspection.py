"""Finding jobs that belong together, and what the rows say of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any

import flask
import flask_login
import pytest
import redis
import rq
from rq.utils import utcformat
from support import family
from support.family import branch, in_request, leaf
from support.working import work

from ctxjobs import Capture, ContextExecutor, ContextJob, capture
from ctxjobs.errors import ConfigError, RedisUnavailableError
from ctxjobs.inspection import JobTree, find_jobs, lineage_of
from ctxjobs.keys import INDEX_PREFIX, index_key
from ctxjobs.registry import registry
from ctxjobs.snapshot import Lineage


@pytest.fixture(autouse=True)
def nothing_bound(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "apps", {})
    yield
    family.jobs._apps.clear()


@pytest.fixture
def app(redis_connection: redis.Redis, redis_url: str) -> flask.Flask:
    return family.create_app(CTXJOBS_REDIS_URL=redis_url)


def found(app: Any, **asked: Any) -> list[str]:
    return [row.id for row in find_jobs(app, **asked)]


# --- Which request ---------------------------------------------------------------------------


def test_all_jobs_of_a_request(redis_connection: redis.Redis, app: flask.Flask) -> None:
    """A request has its own jobs and those that they enqueued, and no other request's."""
    mine = in_request(app, lambda: branch.enqueue(1, 2), request="mine")
    in_request(app, lambda: branch.enqueue(1), request="another's")
    work(redis_connection, system_app="family")
    rows = find_jobs(app, request="mine")
    assert [row.lineage.hop for row in rows if row.lineage] == [2, 2, 1, 0]
    assert rows[-1].id == mine.id
    assert {row.status for row in rows} == {"finished"}


@pytest.mark.parametrize(
    "header", [None, "forged\nline", "x" * 200, ""], ids=["none", "bad", "long", "empty"]
)
def test_a_request_without_an_id_gets_one(
    redis_connection: redis.Redis, app: flask.Flask, header: str | None
) -> None:
    """All that one request enqueues has one id, that of another request has another one."""
    environ = {} if header is None else {"HTTP_X_REQUEST_ID": header}
    with app.test_request_context(environ_overrides=environ):
        first, second = leaf.enqueue(), branch.enqueue(1)
    with app.test_request_context(environ_overrides=environ):
        other = leaf.enqueue()
    work(redis_connection, system_app="family")
    request_id = ContextJob.fetch(first.id, redis_connection).snapshot.lineage.request
    assert request_id != header
    rows = find_jobs(app, request=request_id)
    assert [row.id for row in rows[1:]] == [second.id, first.id]
    assert rows[0].lineage == Lineage(second.id, second.id, 1, request_id)
    assert other.snapshot.lineage.request not in (None, request_id)


def test_a_thread_belongs_to_its_request(app: flask.Flask) -> None:
    """What a ContextExecutor enqueues for a request has the id that the request's other jobs get."""
    with app.test_request_context(), ContextExecutor() as threads:
        in_thread = threads.submit(leaf.enqueue)
        lineages = [job.snapshot.lineage for job in (leaf.enqueue(), in_thread.result()) if job.snapshot]
    assert lineages[0] == lineages[1] != Lineage()


def test_outside_of_a_request_there_is_none(app: flask.Flask) -> None:
    """A job of a script belongs to no request."""
    with app.app_context():
        assert capture().lineage == Lineage()


# --- Whose ----------------------------------------------------------------------------------


def test_several_criteria(app: flask.Flask) -> None:
    """What is asked for holds all at once."""
    both = in_request(app, leaf.enqueue, tenant="acme", user="7")
    in_request(app, leaf.enqueue, tenant="acme", user="8")
    in_request(app, leaf.enqueue, tenant="globex", user="7")
    assert found(app, tenant="acme", user=7) == [both.id]


def test_the_newest_first_and_no_more_than_asked_for(app: flask.Flask) -> None:
    """There is a limit, across the round trips that it takes."""
    jobs = in_request(app, lambda: leaf.enqueue_many([(str(n),) for n in range(230)]), tenant="acme")
    newest_first = [job.id for job in reversed(jobs)]
    assert found(app, tenant="acme") == newest_first[:100]
    assert found(app, tenant="acme", limit=205) == newest_first[:205]


def test_apps_are_apart(redis_connection: redis.Redis, redis_url: str, app: flask.Flask) -> None:
    """Another app's tenant of the same name is another tenant, also for somebody who forges an entry."""
    other = family.create_app(CTXJOBS_REDIS_URL=redis_url, CTXJOBS_APP_ID="other")
    job = in_request(app, leaf.enqueue, tenant="acme")
    assert found(other, tenant="acme") == []
    redis_connection.zadd(index_key("other", "tenant", "acme"), {f"1:{job.id}": 2**40})
    assert found(other, tenant="acme") == []


# --- What a row says -------------------------------------------------------------------------


def test_a_row(redis_connection: redis.Redis, app: flask.Flask) -> None:
    """A row has names, ids, times and lineage, and none of what was captured."""
    job = in_request(app, leaf.options(queue="mail").enqueue, request="r-1", tenant="acme", user="7")
    [row] = find_jobs(app, user="7")
    assert asdict(row) == {
        "id": job.id,
        "function": "support.family.leaf",
        "queue": "mail",
        "status": "queued",
        "trigger": "request",
        "lineage": asdict(Lineage(request="r-1")),
        "created_at": job.created_at,
        "enqueued_at": job.enqueued_at,
        "refusal": None,
    }
    assert "acme" not in repr(row)


def test_nothing_of_the_user_is_run(
    app: flask.Flask, monkeypatch: pytest.MonkeyPatch, redis_connection: redis.Redis
) -> None:
    """Neither is the user loaded, nor the function looked for."""
    job = in_request(app, leaf.enqueue, user="7")
    monkeypatch.delitem(registry.functions, "support.family.leaf")
    manager: flask_login.LoginManager = app.login_manager  # type: ignore[attr-defined]  # Flask-Login puts it there
    manager.user_loader(lambda user_id: pytest.fail("loaded"))
    assert found(app, user="7") == [job.id]


def test_a_changed_job_is_shown_as_refused(redis_connection: redis.Redis, app: flask.Flask) -> None:
    """What does not verify is there, with the reason, and nothing of it is believed."""
    job = in_request(app, leaf.enqueue, tenant="acme")
    redis_connection.hset(f"rq:job:{job.id}", "data", b"changed")
    [row] = find_jobs(app, tenant="acme")
    assert (row.id, row.function, row.lineage, row.trigger, row.status) == (job.id, "", None, None, "queued")
    assert f"Job {job.id} is refused: " in str(row.refusal)


def test_a_plain_job_in_the_index_is_shown_as_refused(
    redis_connection: redis.Redis, app: flask.Flask
) -> None:
    """A job without an envelope that somebody put there is not believed either."""
    in_request(app, leaf.enqueue, tenant="acme")
    plain = rq.Queue(connection=redis_connection).enqueue(family.plain)
    [key] = redis_connection.keys(f"{INDEX_PREFIX}*:tenant:*")
    redis_connection.zadd(key, {f"9{'0' * 15}:{plain.id}": 2**40})
    assert "it has no envelope" in str(find_jobs(app, tenant="acme")[0].refusal)


def test_a_forged_entry_shows_nothing(redis_connection: redis.Redis, app: flask.Flask) -> None:
    """An entry that says something else than its job does is passed over."""
    mine = in_request(app, leaf.enqueue, tenant="acme")
    other = in_request(app, leaf.enqueue, tenant="globex")
    for key in redis_connection.keys(f"{INDEX_PREFIX}*:tenant:*"):
        redis_connection.zadd(key, {f"1:{other.id}": 2**40})
    assert found(app, tenant="acme") == [mine.id]


def test_a_job_that_ran_in_time_is_not_too_old(redis_connection: redis.Redis, app: flask.Flask) -> None:
    """Whether a job is too old is asked for the time when it was started; one that waits is refused now."""
    policy = Capture(max_age_s=-100)
    job = in_request(app, leaf.options(capture=policy).enqueue, tenant="acme")
    assert "it expired 100 s ago" in str(find_jobs(app, tenant="acme")[0].refusal)
    started_at = utcformat(datetime.now(timezone.utc) - timedelta(seconds=50))
    redis_connection.hset(f"rq:job:{job.id}", "started_at", started_at)
    assert find_jobs(app, tenant="acme")[0].refusal is None


def test_what_is_gone_is_dropped(redis_connection: redis.Redis, app: flask.Flask) -> None:
    """A job that somebody deleted behind our back is not found, and is then no longer in the index."""
    job = in_request(app, leaf.enqueue, tenant="acme")
    redis_connection.delete(f"rq:job:{job.id}")
    assert found(app, tenant="acme") == []
    assert not redis_connection.keys(f"{INDEX_PREFIX}*:tenant:*")


# --- The tree --------------------------------------------------------------------------------


def shape(tree: JobTree | None) -> Any:
    assert tree is not None
    return [shape(child) for child in tree.children]


def test_the_tree_of_a_job(redis_connection: redis.Redis, app: flask.Flask) -> None:
    """From any job of a chain, the whole chain: each job with what it enqueued, in that order."""
    with app.app_context():
        job = branch.enqueue(2, 3)
        leaf.enqueue()
    work(redis_connection, system_app="family")
    tree = lineage_of(app, job.id)
    assert shape(tree) == [[[], [], []], [[], [], []]]
    assert tree is not None
    enqueued = ContextJob.fetch(job.id, redis_connection).return_value()
    assert [child.id for child in tree.children] == enqueued
    assert lineage_of(app, tree.children[1].children[2].id) == tree
    assert sorted(found(app, root=job.id)) == sorted(
        [job.id, *enqueued, *(leaf.id for child in tree.children for leaf in child.children)]
    )


def test_a_tree_with_gaps(redis_connection: redis.Redis, app: flask.Flask) -> None:
    """Jobs that are gone are known from their children, and stand under the first one."""
    with app.app_context():
        job = branch.enqueue(2, 1)
    work(redis_connection, system_app="family")
    tree = lineage_of(app, job.id)
    assert tree is not None
    for gone in (job.id, tree.children[0].id):
        redis_connection.delete(f"rq:job:{gone}")
    rest = lineage_of(app, job.id)
    assert shape(rest) == [[[]], [[]]]
    assert rest is not None
    assert (rest.row, {child.row is None for child in rest.children}) == (None, {True, False})


def test_no_tree(app: flask.Flask) -> None:
    """Of a job that nobody knows, there is nothing to tell."""
    assert lineage_of(app, "nobody") is None


def test_inline() -> None:
    """Inline jobs are found, too: code that asks can be tested without a Redis."""
    app = family.create_app(CTXJOBS_INLINE=True)
    job = in_request(app, lambda: branch.enqueue(2), request="r-1", tenant="acme")
    rows = find_jobs(app, request="r-1", tenant="acme")
    assert [row.status for row in rows] == ["finished"] * 3
    assert shape(lineage_of(app, rows[0].id)) == [[], []]
    in_request(app, leaf.options(job_id="one", unique=True, result_ttl=0).enqueue, tenant="globex")
    assert rows[-1].id == job.id
    assert find_jobs(app, tenant="globex") == []


# --- Questions that have no answer -----------------------------------------------------------


def test_the_current_app_is_an_app(app: flask.Flask) -> None:
    """A view asks about its own app."""
    job = in_request(app, leaf.enqueue, tenant="acme")
    with app.app_context():
        assert found(flask.current_app, tenant="acme") == [job.id]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, r"find_jobs\(...\): nothing is asked for; give one of request, tenant, user, root"),
        ({"tenant": ["acme"]}, r"find_jobs\(tenant=...\): expected a str, int or UUID, got list"),
        ({"tenant": ""}, r"find_jobs\(tenant=...\): expected a str, int or UUID, got str"),
        ({"user": "7"}, "CTXJOBS_INDEX: app 'family' does not index its jobs by user"),
    ],
)
def test_what_cannot_be_asked(redis_url: str, asked: dict[str, Any], expected: str) -> None:
    """The error says what to ask, or what to set."""
    app = family.create_app(CTXJOBS_REDIS_URL=redis_url, CTXJOBS_INDEX={"user": None})
    with pytest.raises(ConfigError, match=expected):
        find_jobs(app, **asked)


def test_an_app_that_is_not_bound() -> None:
    """Nobody knows the keys of such an app."""
    with pytest.raises(ConfigError, match="this app is not bound"):
        find_jobs(flask.Flask("unbound"), request="r-1")


def test_without_redis(app: flask.Flask) -> None:
    """A Redis that is away is told as such."""
    lost = family.create_app(CTXJOBS_REDIS_URL="redis://localhost:1/0")
    with pytest.raises(RedisUnavailableError, match="localhost:1"):
        find_jobs(lost, request="r-1")
