"""Functions that a worker does not run, plain jobs that it may, and the second chance of a refused job."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
import rq
from rq import Callback, Retry
from support import depot
from support.working import fields_of, status, why_failed, work

from ctxjobs import Capture, ContextJob, g
from ctxjobs.keys import ENVELOPE_FIELD
from ctxjobs.registry import registry


class Bomb:
    """Says that it ran when it is unpickled."""

    def __init__(self, url: str, job_id: str) -> None:
        self.line = f"import redis; redis.Redis.from_url({url!r}).rpush('ran', 'bomb {job_id}')"

    def __reduce__(self) -> Any:
        return exec, (self.line,)


@pytest.fixture
def connection(redis_url: str, redis_connection: redis.Redis) -> redis.Redis:
    """An empty Redis, with the app ``depot`` bound to it."""
    depot.create_app(redis_url=redis_url)
    return redis_connection


# --- Functions ------------------------------------------------------------------------------

JOB = "from support.depot import jobs\n@jobs.job\ndef f(): raise SystemError('it ran')\n"
ALIAS = "from support.depot import note as f\n"


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Put a text into the module ``fragile``, as a deployment would."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def deploy(text: str | None) -> None:
        registry.functions.pop("fragile.f", None)
        sys.modules.pop("fragile", None)
        path = tmp_path / "fragile.py"
        path.unlink(missing_ok=True) if text is None else path.write_text(text)
        importlib.invalidate_caches()

    yield deploy
    deploy(None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "fragile.f cannot be imported: ModuleNotFoundError: No module named 'fragile'"),
        ("", "fragile.f cannot be imported: AttributeError: module 'fragile' has no attribute 'f'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(7)", "SystemExit: 7"),
        ("def f(): raise SystemError('it ran')", "fragile.f is not a job function"),
        (JOB + "f = f.func", "fragile.f is not a job function"),
        (JOB + "import functools\nf = functools.partial(f)", "fragile.f is not a job function"),
    ],
    ids=["no module", "no function", "raises", "exits", "no job", "the function below", "another object"],
)
def test_a_function_that_is_no_job_here_is_refused(
    connection: redis.Redis, deployed: Callable[[str | None], None], text: str | None, expected: str
) -> None:
    """A job whose function the worker cannot find on its list fails with the reason; the next one runs."""
    deployed(JOB)
    options: Any = {"retry": Retry(max=1), "on_failure": Callback(depot.on_any)}
    job = importlib.import_module("fragile").f.options(**options).enqueue()
    dependent = depot.note.options(depends_on=rq.job.Dependency(job, allow_failure=True)).enqueue("dependent")
    depot.note.enqueue("healthy")
    deployed(text)
    work(connection)
    assert expected in why_failed(connection, job.id)
    assert (status(connection, job.id), status(connection, dependent.id)) == ("failed", "deferred")
    assert depot.ran(connection) == ["healthy"]


# --- Plain RQ jobs --------------------------------------------------------------------------


def enqueue_plain(connection: redis.Redis, function: str, *args: Any, **options: Any) -> rq.job.Job:
    """What a web process without ctxjobs would do."""
    return rq.Queue(connection=connection).enqueue_call(function, args, **options)


@pytest.mark.parametrize(
    ("allowed", "callback", "expected"),
    [
        ((), None, "failed"),
        (("support.depot.other_*",), None, "failed"),
        (("support.depot.plain",), None, "finished"),
        (("support.depot.plain",), depot.on_any, "failed"),
        (("support.depot.plain", "support.depot.on_*"), depot.on_any, "finished"),
    ],
    ids=["none", "another", "by name", "without its callback", "with its callback"],
)
def test_a_plain_job_runs_only_if_its_function_and_callbacks_are_allowed(
    connection: redis.Redis, allowed: tuple[str, ...], callback: Any, expected: str
) -> None:
    """A job without an envelope needs a pattern for its function and for each of its callbacks."""
    options = {"on_success": Callback(callback), "on_failure": Callback(callback)} if callback else {}
    job = enqueue_plain(connection, "support.depot.plain", "plain", **options)
    work(connection, allow_plain=allowed)
    assert status(connection, job.id) == expected
    assert ("plain" in depot.ran(connection)) is (expected == "finished")


@pytest.mark.parametrize("allowed", [(), ("support.depot.*",)], ids=["none", "some"])
@pytest.mark.parametrize("place", ["data", "function"])
def test_a_pickle_without_a_function_name_is_not_unpickled(
    redis_url: str, connection: redis.Redis, place: str, allowed: tuple[str, ...]
) -> None:
    """A plain job that names no function matches no pattern, and what is in its data is never built."""
    job = enqueue_plain(connection, "support.depot.plain", "plain")
    bomb = Bomb(redis_url, job.id)
    data = bomb if place == "data" else (bomb, None, ("plain",), {})
    connection.hset(f"rq:job:{job.id}", "data", pickle.dumps(data))
    work(connection, allow_plain=allowed)
    assert (status(connection, job.id), depot.ran(connection)) == ("failed", [])


def test_a_plain_job_runs_in_the_system_context(connection: redis.Redis) -> None:
    """An allowed plain job finds the worker's first app in ``current_app``."""
    job = enqueue_plain(connection, "support.depot.name_of_app")
    work(connection, allow_plain=("support.depot.*",))
    assert job.return_value() == "support.depot"


def test_arguments_of_any_type_do_not_hide_a_plain_function(connection: redis.Redis) -> None:
    """The function's name is found though no class of the arguments is built."""
    values = (
        OrderedDict(a=1),
        deque([1]),
        defaultdict(list, a=[2]),
        date(2024, 1, 2),
        frozenset({Decimal(1)}),
    )
    enqueue_plain(connection, "support.depot.plain_repr", values)
    work(connection, allow_plain=("support.depot.plain_repr",))
    assert depot.ran(connection) == [repr(values)]


@pytest.mark.parametrize("function", ["note", "note.func", "note_again", "note.enqueue"])
def test_a_job_function_never_runs_without_its_envelope(connection: redis.Redis, function: str) -> None:
    """Whatever it is called, and whatever is allowed, a job function is refused as a plain job."""
    job = enqueue_plain(connection, f"support.depot.{function}", "stolen")
    work(connection, allow_plain=("*",))
    assert (status(connection, job.id), depot.ran(connection)) == ("failed", [])
    assert "is a job function, and its job has no envelope" in why_failed(connection, job.id)


def test_a_job_function_that_was_not_imported_before_does_not_run_plain(
    connection: redis.Redis, deployed: Callable[[str | None], None]
) -> None:
    """A plain job whose function turns out to be a job function is refused: no retry, no callback."""
    deployed(ALIAS)
    options: Any = {"retry": Retry(max=1), "on_failure": Callback(depot.on_any)}
    job = enqueue_plain(connection, "fragile.f", "stolen", **options)
    work(connection, allow_plain=("*",))
    assert "support.depot.note is a job function, and its job has no envelope" in why_failed(
        connection, job.id
    )
    assert (status(connection, job.id), depot.ran(connection)) == ("failed", [])


# --- Time, keys, and a second chance --------------------------------------------------------


def test_an_expired_job_is_refused(redis_url: str, connection: redis.Redis) -> None:
    """A job that is older than its policy allows fails with the reason."""
    job = depot.note.options(capture=Capture(max_age_s=-61)).enqueue("late")
    work(connection)
    assert "it expired " in why_failed(connection, job.id)
    assert depot.ran(connection) == []


def rq_requeue(redis_url: str, job_id: str) -> None:
    command = [sys.executable, "-m", "rq.cli", "requeue", "--url", redis_url, "--queue", "default", job_id]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def test_a_refused_job_runs_after_a_requeue_once_its_key_is_known(
    redis_url: str, connection: redis.Redis
) -> None:
    """A stock ``rq requeue`` gives a refused job another chance; a fallback key lets it run as it was."""
    app = depot.create_app(redis_url=redis_url, SECRET_KEY="old")
    with app.app_context():
        g.tenant = "acme"
        job = depot.note_g.options(meta={"day": date(2024, 1, 2)}, retry=Retry(max=2)).enqueue()
    before = fields_of(connection, job.id)
    depot.create_app(redis_url=redis_url, SECRET_KEY="new")
    work(connection)
    assert "is not signed by app 'depot'" in why_failed(connection, job.id)
    depot.create_app(redis_url=redis_url, SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"])
    rq_requeue(redis_url, job.id)
    work(connection)
    after = fields_of(connection, job.id)
    assert (depot.ran(connection), after["status"]) == (["acme"], b"finished")
    assert [after[name] for name in (ENVELOPE_FIELD, "retries_left")] == [
        before[name] for name in (ENVELOPE_FIELD, "retries_left")
    ]
    assert ContextJob.fetch(job.id, connection=connection).meta == {"day": date(2024, 1, 2)}


def test_a_repaired_job_runs_after_a_requeue(redis_url: str, connection: redis.Redis) -> None:
    """A worker that refuses writes nothing that the envelope binds: put right, a job verifies again."""
    job = depot.note.enqueue("repaired")
    connection.hset(f"rq:job:{job.id}", "timeout", "abc")
    work(connection)
    assert status(connection, job.id) == "failed"
    connection.hset(f"rq:job:{job.id}", "timeout", "10")
    rq_requeue(redis_url, job.id)
    work(connection)
    assert depot.ran(connection) == ["repaired"]


def test_a_refused_job_does_not_run_by_a_requeue_alone(redis_url: str, connection: redis.Redis) -> None:
    """While the cause is there, a requeued job is refused again."""
    job = depot.note.enqueue("stolen")
    connection.hset(f"rq:job:{job.id}", "created_at", "2020-01-01T00:00:00.000000Z")
    for _ in range(2):
        work(connection)
        assert status(connection, job.id) == "failed"
        rq_requeue(redis_url, job.id)
    assert depot.ran(connection) == []
