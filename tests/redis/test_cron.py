"""The cron scheduler: RQ's, but for the envelope."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import rq.cron
from rq.cron import get_cron_job_ids
from support import cron_jobs
from support.cron_jobs import free, only_one, plain, tidy
from support.working import fields_of, status, work

from ctxjobs import App, ContextJob, Override, g
from ctxjobs.cron import CronScheduler
from ctxjobs.errors import (
    ArgumentsError,
    ConfigError,
    CronConfigError,
    UnboundJobError,
    UnencodableValueError,
)
from ctxjobs.inspection import find_jobs
from ctxjobs.keys import ENVELOPE_FIELD
from ctxjobs.registry import registry
from ctxjobs.snapshot import Lineage, Snapshot


@pytest.fixture(autouse=True)
def nothing_bound(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "apps", {})
    yield
    cron_jobs.jobs._apps.clear()


@pytest.fixture
def app(redis_connection: redis.Redis) -> App:
    """Bound, without a Redis of its own: that of the scheduler is used."""
    return cron_jobs.create_app()


@pytest.fixture
def scheduler(redis_connection: redis.Redis, app: App) -> CronScheduler:
    return CronScheduler(redis_connection, app=app)


def ids(connection: redis.Redis, queue: str = "default") -> list[str]:
    return [job_id.decode() for job_id in connection.lrange(f"rq:queue:{queue}", 0, -1)]


def only_job(connection: redis.Redis, queue: str = "default") -> ContextJob:
    [job_id] = ids(connection, queue)
    job: Any = ContextJob.fetch(job_id, connection)
    return job


# --- What is enqueued ------------------------------------------------------------------------


def test_a_job_of_cron(redis_connection: redis.Redis, scheduler: CronScheduler) -> None:
    """It runs in the app's context, without any request, and knows that cron has enqueued it."""
    scheduler.register(tidy, "default", kwargs={"room": "attic"}, interval=60)
    scheduler.enqueue_jobs()
    job = only_job(redis_connection)
    assert job.snapshot == Snapshot("chores", trigger="cron", lineage=Lineage())
    work(redis_connection, system_app="chores")
    assert job.return_value() == "attic support.cron_jobs cron False"


def test_contexts_of_the_scheduler_do_not_travel(
    redis_connection: redis.Redis, scheduler: CronScheduler, app: App
) -> None:
    """What is active where the scheduler runs has nothing to do with its jobs."""
    scheduler.register(tidy, "default", interval=60)
    with app.test_request_context(headers={"X-Request-ID": "r-1"}):
        g.tenant = "acme"
        scheduler.enqueue_jobs()
        assert g.tenant == "acme"
    assert only_job(redis_connection).snapshot == Snapshot("chores", trigger="cron", lineage=Lineage())


def test_the_system_context(redis_connection: redis.Redis) -> None:
    """What the app says for jobs that nobody's request has started is there."""
    app = cron_jobs.create_app(CTXJOBS_SYSTEM_CONTEXT=Override(g={"tenant": "house"}))
    scheduler = CronScheduler(redis_connection, app=app)
    scheduler.register(tidy, "default", interval=60)
    scheduler.enqueue_jobs()
    snapshot = only_job(redis_connection).snapshot
    assert snapshot is not None
    assert (snapshot.g, snapshot.system) == ({"tenant": "house"}, ("g.tenant",))
    assert len(find_jobs(app, tenant="house", connection=redis_connection)) == 1


def test_an_unbound_job_is_the_schedulers_apps(
    redis_connection: redis.Redis, scheduler: CronScheduler
) -> None:
    """A job under the unbound decorator is enqueued for the app of the scheduler."""
    scheduler.register(free, "default", interval=60)
    scheduler.enqueue_jobs()
    job = only_job(redis_connection)
    work(redis_connection, system_app="chores")
    assert job.return_value() == "support.cron_jobs"


def test_a_plain_function_is_a_plain_job(redis_connection: redis.Redis, scheduler: CronScheduler) -> None:
    """As with RQ: no envelope, and a worker has to allow it."""
    scheduler.register(plain, "default", interval=60)
    scheduler.enqueue_jobs()
    [job_id] = ids(redis_connection)
    assert ENVELOPE_FIELD not in fields_of(redis_connection, job_id)
    work(redis_connection, system_app="chores", allow_plain=("support.cron_jobs.plain",))
    assert status(redis_connection, job_id) == "finished"


def test_options_of_the_job(redis_connection: redis.Redis, scheduler: CronScheduler) -> None:
    """What the registration leaves open, the decorator says."""
    scheduler.register(tidy, "mail", interval=60)
    scheduler.enqueue_jobs()
    job = only_job(redis_connection, "mail")
    assert (job.timeout, job.result_ttl) == (33, 77)


def test_options_of_the_registration(redis_connection: redis.Redis, scheduler: CronScheduler) -> None:
    """What the registration says, under RQ's names, wins."""
    options: Any = {"job_timeout": 5, "result_ttl": 6, "ttl": 7, "failure_ttl": 8, "meta": {"a": 1}}
    scheduler.register(tidy, "default", interval=60, **options)
    scheduler.enqueue_jobs()
    job = only_job(redis_connection)
    assert (job.timeout, job.result_ttl, job.ttl, job.failure_ttl, job.meta) == (5, 6, 7, 8, {"a": 1})


def test_a_unique_job_that_is_still_there(redis_connection: redis.Redis, scheduler: CronScheduler) -> None:
    """It is left out this time, and the scheduler goes on to its next job and its next time."""
    cron_job = scheduler.register(only_one, "default", interval=60)
    scheduler.enqueue_jobs()
    cron_job.latest_enqueue_time = None  # due again
    scheduler.register(tidy, "default", interval=60)
    assert len(scheduler.enqueue_jobs()) == 2
    assert len(ids(redis_connection)) == 2
    assert not cron_job.should_run()


# --- What RQ knows of it ---------------------------------------------------------------------


def test_rq_reads_what_was_written(redis_connection: redis.Redis, scheduler: CronScheduler) -> None:
    """RQ's own class finds the scheduler, its jobs and what they have enqueued."""
    scheduler.register(tidy, "default", kwargs={"room": "attic"}, cron="* * * * *", name="chores")
    [cron_job] = scheduler.get_jobs()
    enqueued = [cron_job.enqueue(redis_connection).id for _ in range(2)]
    scheduler.register_birth()
    [seen] = rq.cron.CronScheduler.all(redis_connection)
    assert [job.to_dict() for job in seen.get_jobs()] == [cron_job.to_dict()]
    assert seen.get_jobs()[0].func_name == "support.cron_jobs.tidy"
    assert get_cron_job_ids("chores", redis_connection) == enqueued[::-1]
    assert redis_connection.zrange("rq:cron_jobs", 0, -1) == [b"chores"]


def test_keys_are_as_rq_leaves_them(redis_connection: redis.Redis, scheduler: CronScheduler) -> None:
    """The same keys with the same lifetimes, for a job function and for a plain one."""

    def footprint(func: Any) -> dict[str, int]:
        redis_connection.flushall()
        cron_job = scheduler.register(func, "default", interval=60, name="chore")
        cron_job.enqueue(redis_connection)
        names = [key.decode() for key in redis_connection.keys("*") if not key.startswith(b"rq:job:")]
        return {name: redis_connection.ttl(name) for name in names}

    assert footprint(tidy) == footprint(plain)


def test_our_class_reads_its_own(redis_connection: redis.Redis, scheduler: CronScheduler) -> None:
    """fetch() works, for whoever looks at schedulers."""
    scheduler.register(tidy, "default", interval=60)
    scheduler.register_birth()
    assert CronScheduler.fetch(scheduler.name, redis_connection).get_jobs()[0].interval == 60


# --- What cannot be registered ---------------------------------------------------------------


def test_arguments_are_checked_when_the_job_is_registered(scheduler: CronScheduler) -> None:
    """A job that could never be enqueued is refused before the first time that it is due."""
    with pytest.raises(ArgumentsError, match="tidy cannot be enqueued"):
        scheduler.register(tidy, "default", args=(1, 2), interval=60)
    with pytest.raises(UnencodableValueError, match="room"):
        scheduler.register(tidy, "default", args=(object(),), interval=60)


def test_a_job_without_an_app(redis_connection: redis.Redis, app: App) -> None:
    """A scheduler without an app takes jobs that are bound, and no others."""
    scheduler = CronScheduler(redis_connection)
    scheduler.register(plain, "default", interval=60)
    with pytest.raises(UnboundJobError, match=r"support\.cron_jobs\.free"):
        scheduler.register(free, "default", interval=60)


def test_an_app_that_is_not_bound(redis_connection: redis.Redis) -> None:
    """Its jobs could not be signed."""
    with pytest.raises(ConfigError, match="this app is not bound"):
        CronScheduler(redis_connection, app=App("unbound"))


@pytest.mark.parametrize(
    ("text", "error", "expected"),
    [
        ("import no_such_module", CronConfigError, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("register(tidy, 'default')", CronConfigError, "Must specify either interval or cron"),
        ("register(tidy, 'default', args=(1, 2), interval=1)", ArgumentsError, "tidy cannot be enqueued"),
    ],
    ids=["broken", "no time", "wrong arguments"],
)
def test_a_configuration_that_cannot_be_used(
    scheduler: CronScheduler, tmp_path: Path, text: str, error: type[Exception], expected: str
) -> None:
    """One job that cannot be registered is an error, and not a line in a log, as it is with RQ."""
    config = tmp_path / "cron_config.py"
    config.write_text(f"from rq.cron import register\nfrom support.cron_jobs import tidy\n{text}\n")
    with pytest.raises(error, match=expected):
        scheduler.load_config_from_file(str(config))


def test_a_job_of_another_redis(redis_connection: redis.Redis, redis_url: str) -> None:
    """The scheduler's Redis is used, whatever the app's settings say."""
    app = cron_jobs.create_app(CTXJOBS_REDIS_URL="redis://localhost:1/0")
    scheduler = CronScheduler(redis_connection, app=app)
    scheduler.register(tidy, "default", interval=60)
    [cron_job] = scheduler.enqueue_jobs()
    assert cron_job.get_job_ids(redis_connection) == ids(redis_connection)
