"""The app ``depot``, its jobs, and plain functions: what the tests of refusal and of the worker run.

Everything that runs says so in the Redis list ``ran``, so that it shows in whichever process it ran.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import redis
import rq
from werkzeug.local import LocalProxy

from ctxjobs import App, CtxJobs, current_app, current_job, g
from ctxjobs.registry import registry

RAN = "ran"

jobs = CtxJobs()


def create_app(*, redis_url: str | None = None, **config: Any) -> App:
    app = App(__name__)
    own = {"SECRET_KEY": "k1", "CTXJOBS_APP_ID": "depot", "CTXJOBS_REDIS_URL": redis_url}
    app.config.update({**own, **config})
    jobs.init_app(app)
    return app


def unbound_app() -> App:
    return App(__name__)


def forget(app_id: str) -> None:
    """Be a process that never loaded the app."""
    registry.apps.pop(app_id, None)
    jobs._apps.pop(app_id, None)


def create_broken_app() -> App:
    raise ZeroDivisionError("no such warehouse")


def ran(connection: redis.Redis) -> list[str]:
    """What ran so far, oldest first."""
    return [name.decode() for name in connection.lrange(RAN, 0, -1)]


# --- jobs ----------------------------------------------------------------------------------


@jobs.job
def note(name: str) -> str:
    current_job.connection.rpush(RAN, name)
    return name


@jobs.job
def note_g() -> None:
    current_job.connection.rpush(RAN, str(g.get("tenant")))


@jobs.job
def fail(name: str) -> None:
    current_job.connection.rpush(RAN, name)
    raise ValueError("the job failed")


@jobs.job
def hold(name: str) -> None:
    """Say its name, wait until the key ``go`` is set, then say that it is done."""
    connection = current_job.connection
    connection.rpush(RAN, f"{name} starts")
    connection.brpoplpush("go", "go", timeout=30)
    connection.rpush(RAN, f"{name} ends")


@jobs.job
def note_or_hold(name: str, holds: bool) -> None:
    """As :func:`note`; or else as :func:`hold`."""
    (hold.func if holds else note.func)(name)


@jobs.job
def note_or_report(name: str, looks_at: str = "", cuts: bool = False) -> None:
    """As :func:`note`; or have this process report what it has done, and say how another job stands then.

    Args:
        name: What to say.
        looks_at: Id of that other job; empty to report nothing.
        cuts: Whether to cut connections to Redis before: all but those in the set ``kept``.
    """
    connection = current_job.connection
    if not looks_at:
        connection.rpush(RAN, name)
        return
    if cuts:
        kept = {int(client_id) for client_id in connection.smembers("kept")}
        for client in connection.client_list():
            if int(client["id"]) not in kept:
                connection.client_kill_filter(_id=client["id"], skipme=True)
    os.kill(os.getpid(), signal.SIGURG)
    connection.rpush(RAN, f"{name}: {looks_at} {connection.hget(f'rq:job:{looks_at}', 'status').decode()}")


@jobs.job
def pids() -> None:
    """Say the ids of the loader and of this child."""
    current_job.connection.rpush(RAN, f"{os.getppid()} {os.getpid()}")


class Order:
    """A class of an app that the codec does not know."""


@jobs.job
def give(kind: str) -> object:
    """Return what cannot be stored."""
    values: dict[str, object] = {
        "generator": (number for number in range(3)),
        "proxy": current_app,
        "object": Order(),
        "object in a list": [1, Order()],
        "lazy": LocalProxy(lambda: "late"),
        "function": plain,
    }
    return values[kind]


@jobs.job
def kill_own_process(name: str) -> None:
    current_job.connection.rpush(RAN, name)
    os.kill(os.getpid(), signal.SIGKILL)


# --- callbacks and plain functions ---------------------------------------------------------


def on_any(job: rq.job.Job, connection: redis.Redis, *args: Any) -> None:
    connection.rpush(RAN, f"callback {job.id}")


def plain(name: str) -> None:
    rq.get_current_job().connection.rpush(RAN, name)


def plain_repr(value: object) -> None:
    plain(repr(value))


def name_of_app() -> str:
    return current_app.name


def tenant_on_g() -> str:
    tenant: str = g.tenant
    return tenant


note_again = note
