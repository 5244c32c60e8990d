"""The app behind the samples in ``tests/wire``, on either host, and what its view and its job see.

Samples of released versions name what is here: functions, classes, routes and propagators may be added,
and never renamed or taken away. Imports nothing that the oldest and newest dependencies do not have.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from support.both_hosts import WEBS, Web

import ctxjobs
from ctxjobs import Capture, Snapshot, codec
from ctxjobs.propagators import ContextVarPropagator

SECRET_KEY = "the key of the wire samples"
POLICY = Capture(session=("user", "räume"), body_bytes=1000)

basket: ContextVar[Any] = ContextVar("support.wire_app.basket", default="none")
#: Registered by whoever uses this app, not by the import: it would capture for the apps of other tests.
PROPAGATOR = ContextVarPropagator("wire.basket", basket)


class Color(Enum):
    RED = "r"


@codec.register
@dataclass(frozen=True)
class Money:
    amount: Decimal
    currency: str


@dataclass(frozen=True)
class Person:
    """Travels as a reference, and is made again by its key."""

    key: Any


class Persons:
    def key_of(self, obj: Person, /) -> Any:
        return obj.key

    def load(self, key: Any, /) -> Person:
        return Person(key)


ctxjobs.register_model(Person, loader=Persons())

VALUES: dict[str, Any] = {
    "none": None,
    "bools": [True, False],
    "ints": [0, -1, 2**63 - 1, -(2**63), 2**64, -(10**40)],
    "floats": [0.1, -0.0, 1e300],
    "text": ["", "Grüße, 世界 🚀", "\x00\x7f\u2028", '"\\/'],
    "bytes": b"\x00\xff",
    "datetimes": [
        datetime(2026, 1, 2, 3, 4, 5, 6),
        datetime(2026, 1, 2, tzinfo=timezone.utc),
        datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Vienna"), fold=1),
    ],
    "times": [time(3, 4, 5), time(3, 4, tzinfo=timezone(timedelta(hours=2)))],
    "date": date(2026, 1, 2),
    "timedelta": timedelta(days=-1, seconds=2, microseconds=3),
    "decimals": [Decimal("1.50"), Decimal("-1E+20")],
    "uuid": UUID("12345678123456781234567812345678"),
    "enum": Color.RED,
    "tuple": (1, (2, [3])),
    "sets": [{1, 2}, frozenset({"a"})],
    "keys": {1: "one", (2, "b"): "two", "~": "tilde", "plain": {"~v": 1}},
    "registered": Money(Decimal("9.99"), "EUR"),
    "empty": [[], {}, (), set()],
}


def spell(value: Any) -> Any:
    """*value* as JSON that tells types apart, the same on every Python."""
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, set | frozenset):
        return [type(value).__name__, *sorted(map(repr, value))]
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(spell, value)]
    if isinstance(value, dict):
        return ["dict", *([spell(key), spell(item)] for key, item in value.items())]
    return f"{type(value).__name__} {value!r}"


def look(web: Web) -> dict[str, Any]:
    """What code sees that runs here, be it a view or a job."""
    seen: dict[str, Any] = {"app": web.module.current_app.name, "basket": spell(basket.get())}
    seen["g"] = {name: spell(web.g.get(name)) for name in ("tenant", "größe", "values", "db")}
    if web.module.has_request_context():
        request = web.module.request
        seen["request"] = [request.method, request.url, request.endpoint, spell(dict(request.view_args))]
        seen["headers"] = [request.headers.get(name) for name in ("User-Agent", "Accept-Language")]
        seen["args"] = spell(request.args.to_dict(flat=False))
        seen["body"] = spell(request.get_data())
        seen["session"] = {name: spell(web.module.session.get(name)) for name in POLICY.session}
    return seen


@ctxjobs.job
def look_in_job(host: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return {**look(WEBS[host]), "passed": [spell(args), spell(kwargs)]}


flask_jobs, native_jobs = ctxjobs.CtxJobs(), ctxjobs.CtxJobs()


@flask_jobs.job
def look_in_flask_job(host: str) -> dict[str, Any]:
    return look_in_job(host)


@native_jobs.job
def look_in_native_job(host: str) -> dict[str, Any]:
    return look_in_job(host)


#: By host: what binds its app, and the job that can be enqueued where no context is active.
BOUND: dict[str, tuple[ctxjobs.CtxJobs, Any]] = {
    "flask": (flask_jobs, look_in_flask_job),
    "native": (native_jobs, look_in_native_job),
}


@ctxjobs.job
def enqueue_another(host: str) -> None:
    look_in_job.options(job_id=f"{host}-from_job").enqueue(host)


def on_end(job: Any, connection: Any, *args: Any) -> None: ...


def create_app(host: str, redis_url: str | None = None) -> Any:
    """The app, bound; its view is whatever ``app.extensions["wire"]`` is."""
    app = WEBS[host].App("wire")
    app.config.update(
        SECRET_KEY=SECRET_KEY,
        CTXJOBS_APP_ID=f"wire-{host}",
        CTXJOBS_CAPTURE=POLICY,
        CTXJOBS_REDIS_URL=redis_url,
    )
    app.add_url_rule(
        "/räume/<int:number>", "room", lambda number: app.extensions["wire"](), methods=["GET", "POST"]
    )
    BOUND[host][0].init_app(app)
    return app


def facts(snapshot: Snapshot) -> dict[str, Any]:
    """What a snapshot says besides what a job can look at."""
    lineage = snapshot.lineage
    return {
        "app_id": snapshot.app_id,
        "trigger": snapshot.trigger,
        "lineage": [lineage.root, lineage.parent, lineage.hop],
        "skipped": sorted(snapshot.skipped),
        "left_out": {kind: sorted(names) for kind, names in snapshot.left_out.items()},
        "propagators": sorted(snapshot.propagators),
        "overrides": sorted(snapshot.overrides),
    }
