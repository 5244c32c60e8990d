"""Runs the matrix: all ways on one host, then one kind of worker until nothing is left, then the account.

The views run in this process, through the app's test client; the workers are processes of their own.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from redis import Redis
from rq.job import Job
from support.matrix.account import Account, Call, read_end
from support.matrix.events import read_events
from support.matrix.hooks import listening
from support.matrix.seeing import see
from support.matrix.way import Desk, Way
from support.matrix.ways import WAYS
from support.matrix.workers import QUEUES, WORKERS, next_due, run_process, run_worker
from support.waiting import wait_until

from ctxjobs import ContextJob

HOSTS = ("native", "flask")
COMBINATIONS = [(host, worker) for worker in WORKERS for host in HOSTS]
#: The ways that need no id of their own in Redis, so that several apps can use them at once.
WAYS_FOR_BOTH = ("enqueue", "retry", "enqueue_in", "coroutine", "nested", "bound", "outside", "failing")
#: Most rounds until all retries, repeats and scheduled jobs are done; three do.
MAX_BURSTS = 8


@functools.cache
def run_matrix(redis_url: str, host: str, worker: str) -> Account:
    """Use every way on *host*, and let a *worker* do the jobs.

    Args:
        redis_url: A Redis server; each combination takes a database of its own.
        host: One of :data:`HOSTS`.
        worker: One of :data:`WORKERS`.
    """
    return _run(Account(host, worker), f"{redis_url}?db={1 + COMBINATIONS.index((host, worker))}", (host,))


@functools.cache
def run_both_hosts(redis_url: str, worker: str) -> Account:
    """Use some ways on the apps of both hosts in turn, and let one *worker* do all of the jobs."""
    return _run(Account("both", worker), f"{redis_url}?db={9 + WORKERS.index(worker)}", HOSTS, WAYS_FOR_BOTH)


def _run(account: Account, url: str, hosts: Sequence[str], ways: Iterable[str] = WAYS) -> Account:
    modules = {host: importlib.import_module(f"support.matrix.{host}_app") for host in hosts}
    apps = {host: module.create_app(url) for host, module in modules.items()}
    with Redis.from_url(url) as connection, listening(account.hooks) as hook_url:
        connection.flushdb()
        for name, host in itertools.product(ways, hosts):
            call = use(WAYS[name], apps[host], Desk(modules[host].report, connection, hook_url))
            account.calls[name if len(hosts) == 1 else f"{host} {name}"] = call
        account.log = work_off(
            account, connection, url, [f"{modules[host].__name__}:create_app()" for host in hosts]
        )
        account.events = read_events(connection)
        for name in ("group", "rq-group"):
            account.groups[name] = {member.decode() for member in connection.smembers(f"rq:group:{name}")}
        for job_id in {event["job_id"] for event in account.events}:
            account.ends[job_id] = read_end(job_id, connection)
    return account


def use(way: Way, app: Any, desk: Desk) -> Call:
    """Call the way where it belongs."""
    seen: list[dict[str, Any]] = []
    made: list[Job] = []

    def act() -> None:
        seen.append(see())
        made.extend(way.enqueue(desk))
        seen.append(see())

    if way.where == "view":
        app.extensions["matrix"] = act
        request(app, way)
    elif way.where == "app":
        with app.app_context():
            act()
    else:
        with app.app_context():
            seen.extend((see(), see()))
        made.extend(way.enqueue(desk))
    assert seen[0] == seen[1], "enqueuing changed what the caller sees"
    ids = [job.id for job in made]
    return Call(
        way,
        seen[0],
        ids,
        {job_id: desk.connection.hgetall(Job.key_for(job_id)) for job_id in ids},
        desk.notes,
    )


def request(app: Any, way: Way) -> None:
    """Make the request that is different for every way."""
    number = list(WAYS).index(way.name)
    response = app.test_client().post(
        f"/de/orders/{number}?tenant=t{number}&tag=a%20b&tag=c",
        base_url="https://shop.example:8443",
        headers={
            "X-Request-ID": way.name,
            "X-User": f"user {number}",
            "Accept-Language": "de, en;q=0.5",
            "Authorization": "Bearer secret",
            "Cookie": "theme=dark",
            "X-API-Key": "secret",
        },
        environ_overrides={"REMOTE_ADDR": f"10.0.0.{number}"},
        data={"form": "stays"},
    )
    assert response.status_code == 200, response.text


def work_off(account: Account, connection: Redis, url: str, apps: Sequence[str]) -> str:
    """Run one burst after the other until no job is left; return what the workers logged."""
    log = run_worker(account.worker, apps, url, QUEUES)
    requeue_failed(account, connection, url)
    for _ in range(MAX_BURSTS):
        if not (due := next_due(connection)):
            return log
        wait_until(lambda due=due: time.time() >= due, what="the next job is due")
        log += run_worker(account.worker, apps, url, QUEUES)
    raise TimeoutError(f"after {MAX_BURSTS} bursts there are still jobs to do:\n{log}")


def requeue_failed(account: Account, connection: Redis, url: str) -> None:
    for call in account.calls.values():
        for job_id in call.ids if call.way.requeue else ():
            if call.way.requeue == "rq requeue":
                run_process(
                    [sys.executable, "-m", "rq.cli", "requeue", "--url", url, "--queue", "default", job_id],
                    url,
                )
            else:
                ContextJob.fetch(job_id, connection=connection).requeue()
