"""``ctxjobs worker`` as users start it: real processes, real signals, a real Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import redis
from support import depot
from support.waiting import is_running, wait_until
from support.worker_process import WorkerProcess, run_worker
from support.working import status

from ctxjobs.embedded import EmbeddedRedis

Start = Callable[..., AbstractContextManager[WorkerProcess]]


@pytest.fixture
def connection(redis_url: str, redis_connection: redis.Redis) -> redis.Redis:
    """An empty Redis, with the app ``depot`` bound to it."""
    # A child that the last test killed while it waited for a job would still be given one.
    wait_until(lambda: redis_connection.info("clients")["blocked_clients"] == 0, what="no client waits")
    depot.create_app(redis_url=redis_url)
    return redis_connection


@pytest.fixture
def start(redis_url: str, tmp_path: Path) -> Start:
    """Start a worker on the private Redis."""
    return partial(run_worker, tmp_path / "log", redis_url=redis_url)


def wait_for(connection: redis.Redis, *names: str) -> None:
    wait_until(lambda: set(names) <= set(depot.ran(connection)), what=f"{names} in {depot.ran(connection)}")


# --- Apps that cannot be loaded -------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("no_such_shop:app", "ModuleNotFoundError: No module named 'no_such_shop'"),
        ("support.depot:shop", "AttributeError: module 'support.depot' has no attribute 'shop'"),
        ("support.depot:create_broken_app()", "ZeroDivisionError: no such warehouse"),
        ("support.depot:unbound_app()", "is not bound: nothing called CtxJobs(app) or init_app(app)"),
        ("support.script_that_exits:app", "SystemExit: 7"),
        ("support.depot", "it does not read as 'module:attribute'"),
    ],
)
def test_an_app_that_cannot_be_loaded_ends_the_worker(start: Start, spec: str, expected: str) -> None:
    """Exit code 4, and a message with the reason and no more than the user's part of a traceback."""
    with start(app=("--app", spec)) as worker:
        assert worker.exit_code() == 4
        assert f"App '{spec}' could not be loaded: " in worker.log
        assert expected in worker.log
        assert len(worker.log.splitlines()) <= 8
        assert "ctxjobs/" not in worker.log


# --- No Redis -------------------------------------------------------------------------------


def test_a_worker_whose_redis_is_gone_still_stops(tmp_path: Path) -> None:
    """SIGTERM ends a worker that waits for a Redis to come back."""
    with EmbeddedRedis() as server, run_worker(tmp_path / "log", redis_url=server.url) as worker:
        worker.wait_for_log("*** Listening on")
        server.stop()
        worker.wait_for_log("Redis does not answer")
        worker.stop()
        assert worker.exit_code() == 0


def test_burst_without_redis_gives_up(tmp_path: Path) -> None:
    """Exit code 3, within seconds; the message names the URL without its password."""
    url = "redis://clerk:hush@127.0.0.1:1/0"
    with run_worker(tmp_path / "log", "--burst", redis_url=url) as worker:
        assert worker.exit_code() == 3
        assert "Redis at redis://clerk:***@127.0.0.1:1/0 does not answer" in worker.log
        assert "hush" not in worker.log


def test_a_worker_waits_for_redis(tmp_path: Path) -> None:
    """Without ``--burst`` it asks again until Redis comes up, then it works."""
    server = EmbeddedRedis()
    with run_worker(tmp_path / "log", redis_url=server.url) as worker:
        worker.wait_for_log("does not answer")
        with server, redis.Redis.from_url(server.url) as connection:
            depot.create_app(redis_url=server.url)
            depot.note.enqueue("late")
            wait_for(connection, "late")
            worker.stop()
            assert worker.exit_code() == 0


def test_a_worker_that_waits_for_redis_can_be_stopped(tmp_path: Path) -> None:
    """SIGTERM ends it at once, with exit code 0."""
    with run_worker(tmp_path / "log", redis_url="redis://127.0.0.1:1") as worker:
        worker.wait_for_log("does not answer")
        worker.stop()
        assert worker.exit_code() == 0


# --- Stopping -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["SIGTERM", "Ctrl-C in the terminal"])
def test_a_stop_lets_the_running_job_finish(start: Start, connection: redis.Redis, how: str) -> None:
    """SIGTERM to the supervisor, or SIGINT to the whole group: the job ends, then the worker, with 0."""
    job, waiting = depot.hold.enqueue("job"), depot.note.enqueue("waiting")
    with start() as worker:
        wait_for(connection, "job starts")
        if how == "SIGTERM":
            worker.stop()
        else:
            os.killpg(worker.process.pid, signal.SIGINT)
        worker.wait_for_log("stopping: children finish their jobs")
        connection.lpush("go", 1)
        assert worker.exit_code() == 0
    assert (depot.ran(connection), status(connection, job.id)) == (["job starts", "job ends"], "finished")
    assert (status(connection, waiting.id), connection.lrange("rq:queue:default", 0, -1)) == (
        "queued",
        [waiting.id.encode()],
    )


def test_a_second_stop_ends_the_running_job(start: Start, connection: redis.Redis) -> None:
    """A second SIGTERM does not wait for the job: it goes back to the head of its queue."""
    jobs = [depot.hold.enqueue("job"), depot.pids.enqueue()]
    with start() as worker:
        wait_for(connection, "job starts")
        worker.stop()
        worker.wait_for_log("stopping: children finish their jobs")
        worker.stop()
        assert worker.exit_code() == 0
        assert "stopping now" in worker.log
    assert depot.ran(connection) == ["job starts"]
    assert connection.lrange("rq:queue:default", 0, -1) == [job.id.encode() for job in jobs]
    assert status(connection, jobs[0].id) == "queued"


def test_a_drain_is_over_after_its_timeout(start: Start, connection: redis.Redis) -> None:
    """The job that still runs then goes back to the head of its queue, and runs in the next worker."""
    jobs = [depot.hold.enqueue("job"), depot.note.enqueue("waiting")]
    with start("--drain-timeout-s", "0.5") as worker:
        wait_for(connection, "job starts")
        worker.stop()
        assert worker.exit_code() == 0
    assert connection.lrange("rq:queue:default", 0, -1) == [job.id.encode() for job in jobs]
    connection.lpush("go", 1)
    with start("--burst") as worker:
        assert worker.exit_code() == 0
    assert depot.ran(connection) == ["job starts", "job starts", "job ends", "waiting"]


def test_no_job_is_lost_under_stops(start: Start, connection: redis.Redis) -> None:
    """Jobs that are enqueued while one worker after the other is stopped all run, each of them once."""
    count = 300
    numbers = [str(number) for number in range(count)]
    enqueuing = threading.Thread(target=lambda: [depot.note.enqueue(number) for number in numbers])
    enqueuing.start()
    for _ in range(4):
        with start("-c", "2") as worker:
            worker.wait_for_log("2 children")
            worker.stop()
            assert worker.exit_code() == 0
    enqueuing.join()
    with start("--burst") as worker:
        assert worker.exit_code() == 0
    assert sorted(depot.ran(connection), key=int) == numbers
    assert [key for key in connection.keys("rq:*intermediate*") if connection.type(key) == b"list"] == []


def test_burst_ends_when_the_queues_are_empty(start: Start, connection: redis.Redis) -> None:
    """``--burst`` runs all jobs of the named queues, the first queue first, and exits with 0."""
    for queue in ("low", "high", "other"):
        depot.note.options(queue=queue).enqueue(queue)
    with start("--burst", "high", "low") as worker:
        assert worker.exit_code() == 0
    assert depot.ran(connection) == ["high", "low"]


# --- Processes that die ---------------------------------------------------------------------


def test_burst_goes_on_after_a_child_that_met_garbage(start: Start, connection: redis.Redis) -> None:
    """An id in the queue that is no job ends its child; another one runs what is left, then all is done."""
    connection.set("rq:job:garbage", "not a hash")
    connection.rpush("rq:queue:default", "garbage")
    depot.note.enqueue("next")
    with start("--burst") as worker:
        assert worker.exit_code() == 0
    assert depot.ran(connection) == ["next"]


def test_burst_ends_while_workers_are_suspended(start: Start, connection: redis.Redis) -> None:
    """``rq suspend`` ends a burst worker at once, as in RQ; the jobs stay where they are."""
    connection.set("rq:suspended", "1")
    depot.note.enqueue("later")
    with start("--burst") as worker:
        assert worker.exit_code() == 0
    assert connection.llen("rq:queue:default") == 1


def test_a_killed_child_is_replaced(start: Start, connection: redis.Redis) -> None:
    """A job that kills its process takes no other job with it: another child goes on."""
    depot.kill_own_process.enqueue("killer")
    depot.note.enqueue("next")
    with start() as worker:
        wait_for(connection, "killer", "next")
        assert "ended with signal SIGKILL; starting another one" in worker.log


def test_nothing_survives_a_killed_supervisor(start: Start, connection: redis.Redis) -> None:
    """Loader and children end by themselves, after the running job."""
    depot.pids.enqueue()
    depot.hold.enqueue("job")
    with start() as worker:
        wait_for(connection, "job starts")
        loader, child = map(int, depot.ran(connection)[0].split())
        worker.process.kill()
        worker.process.wait()
        connection.lpush("go", 1)
        wait_for(connection, "job ends")
        wait_until(lambda: not is_running(child) and not is_running(loader), what="both end")


def test_a_killed_loader_is_replaced(start: Start, connection: redis.Redis) -> None:
    """A loader that is killed is started again, and jobs go on."""
    depot.pids.enqueue()
    with start() as worker:
        wait_until(lambda: depot.ran(connection), what="the first job")
        loader, child = map(int, depot.ran(connection)[0].split())
        os.kill(loader, signal.SIGKILL)
        worker.wait_for_log("the loader ended with signal SIGKILL")
        wait_until(lambda: not is_running(child), what="the child ends")
        depot.note.enqueue("next")
        wait_for(connection, "next")


# --- More -----------------------------------------------------------------------------------


def test_two_children_run_two_jobs_at_once(start: Start, connection: redis.Redis) -> None:
    """With ``-c 2`` a second job starts while the first one runs."""
    for name in ("one", "two"):
        depot.hold.enqueue(name)
    with start("-c", "2"):
        wait_for(connection, "one starts", "two starts")
        assert set(depot.ran(connection)) == {"one starts", "two starts"}


def test_a_child_is_replaced_after_its_jobs(start: Start, connection: redis.Redis) -> None:
    """With ``--max-jobs-per-child 2``, each runs two of them."""
    for _ in range(6):
        depot.pids.enqueue()
    with start("--max-jobs-per-child", "2", "--burst") as worker:
        assert worker.exit_code() == 0
    children = [line.split()[1] for line in depot.ran(connection)]
    assert children[0::2] == children[1::2]
    assert len(set(children)) == 3


@pytest.mark.parametrize(("strategy", "expected"), [("default", "aaabbb"), ("round_robin", "ababab")])
def test_the_strategy_says_from_which_queue(
    start: Start, connection: redis.Redis, strategy: str, expected: str
) -> None:
    """RQ's names: the first queue that has a job, or one queue in turn."""
    for name in "aaabbb":
        depot.note.options(queue=name).enqueue(name)
    with start("--dequeue-strategy", strategy, "--burst", "a", "b") as worker:
        assert worker.exit_code() == 0
    assert "".join(depot.ran(connection)) == expected


def test_any_queue(start: Start, connection: redis.Redis) -> None:
    """At random, jobs of all queues come among each other; in each, in order."""
    queues = "abcdefghij"
    for number in range(80):
        depot.note.options(queue=queues[number % 10]).enqueue(str(number))
    with start("--dequeue-strategy", "random", "--burst", *queues) as worker:
        assert worker.exit_code() == 0
    numbers = [int(number) for number in depot.ran(connection)]
    of_each = [[one for one in numbers if one % 10 == queue] for queue in range(10)]
    assert of_each == [list(range(queue, 80, 10)) for queue in range(10)]
    changes = sum(before % 10 != after % 10 for before, after in pairwise(numbers))
    assert changes > 9  # more often than one queue after the other


def test_help_lists_the_exit_codes() -> None:
    """``ctxjobs worker --help`` says what each exit code means."""
    command = [sys.executable, "-m", "ctxjobs", "worker", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    listed = text.partition("Exit codes:")[2].split("Options:")[0].split()
    assert [word for word in listed if word.isdigit()] == ["0", "1", "2", "3", "4"]


def test_a_missing_option_is_exit_code_2() -> None:
    """A worker without an app is a command line that does not read."""
    command = [sys.executable, "-m", "ctxjobs", "worker"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (result.returncode, "Missing option '--app'" in result.stderr) == (2, True)


@pytest.mark.parametrize("module", ["click", "flask", "ctxjobs.native.testing", "ctxjobs_worker"])
def test_import_ctxjobs_loads_only_what_a_web_process_needs(module: str) -> None:
    """``import ctxjobs`` leaves out what only tests, a command line or a worker need."""
    code = f"import ctxjobs, sys; sys.exit({module!r} in sys.modules)"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=30)
