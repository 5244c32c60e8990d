"""Write the samples of this release's wire version: ``PYTHONPATH=tests python tests/wire/write_samples.py``.

Run once for each wire version, when it is released, and never again: later releases have to read what that
release wrote (``tests/unit/test_wire.py``). Until then, ``--again`` replaces what is there. Each sample is a
job as it stands in Redis, enqueued by a view of ``support.wire_app`` on a real Redis, with what has to come
out of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import redis
from rq import Callback, Retry
from rq.webhook import Webhook
from support import wire_app
from support.both_hosts import WEBS, Web
from support.wire_app import BOUND, POLICY, VALUES, Person, look_in_job, on_end

from ctxjobs import Override, register_propagator
from ctxjobs.embedded import EmbeddedRedis
from ctxjobs.snapshot import WIRE_VERSION

FOLDER = Path(__file__).parent / f"v{WIRE_VERSION}"
#: When all samples are signed: the first day of 2026, so that no clock finds them to be from the future.
SIGNED_AT = 1767225600.0
CENTURY_S = 36525 * 86400.0


@dataclass(frozen=True)
class Case:
    """One kind of sample.

    Attributes:
        says: What it shows.
        before: Sets what the view has.
        job: The job; takes the name of the host.
        args: The job's arguments.
        options: Options of the job.
        request: The request of the view; None to enqueue outside of any context.
        overridden: What the job sees in the place of what the view has.
        refused: Class of the refusal; empty if the job runs.
    """

    says: str
    before: Callable[[Web], None] = lambda web: None
    job: Any = look_in_job
    args: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] | None = field(default_factory=dict)
    overridden: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: str = ""


def set_all(web: Web) -> None:
    web.g.tenant, web.g.values = "acme", VALUES
    web.module.session.update(user=7)


def set_unicode(web: Web) -> None:
    web.g.größe = "mittel, 世界 🚀"
    web.module.session["räume"] = ["Küche", "\u2028"]


def set_what_stays(web: Web) -> None:
    web.g.db = object()
    web.module.session.update(user=7, cart=["not listed"])


def set_reference(web: Web) -> None:
    web.g.tenant = Person(7)


def set_basket(web: Web) -> None:
    wire_app.basket.set({"apples": 3, "until": date(2026, 1, 2)})


POST = {
    "method": "POST",
    "path": "/räume/7",
    "query_string": {"q": ["a b", "ü"]},
    "data": b'{"a": "\xc3\xbc"}',
    "content_type": "application/json",
    "headers": {"User-Agent": "sample/1", "Accept-Language": "de", "Cookie": "c=1", "X-Other": "1"},
}
CASES = {
    "request": Case("A whole request: URL, headers, body, session, g.", set_all, request=POST),
    "no_context": Case("Enqueued where no context is active.", request=None),
    "values": Case("Every type as an argument.", args={"values": VALUES, "plain": 1}),
    "unicode": Case("Letters of many scripts, in names and values.", set_unicode, args={"größe": "groß"}),
    "left_out": Case("What does not encode, or is not listed.", set_what_stays, request=POST),
    "propagators": Case("State that a propagator carries.", set_basket),
    "references": Case("Objects that are loaded again.", set_reference, args={"to": Person((1, "b"))}),
    "overrides": Case(
        "Something else in the place of what was there.",
        set_all,
        options={"context": Override(g={"tenant": "other"}, session={"user": 8})},
        request=POST,
        overridden={"g": {"tenant": "other"}, "session": {"user": 8}},
    ),
    "hidden": Case(
        "Values that travel and are never shown.",
        set_all,
        options={"capture": POLICY.extend(hidden=("g.tenant", "session.user"))},
        request=POST,
    ),
    "expiring": Case("It expires, in a century.", options={"capture": POLICY.replace(max_age_s=CENTURY_S)}),
    "expired": Case(
        "It has expired.",
        options={"capture": POLICY.replace(max_age_s=-3600.0)},
        refused="EnvelopeExpiredError",
    ),
    "options": Case(
        "Callbacks, a webhook, meta, retries.",
        options={
            "on_success": Callback(on_end),
            "on_failure": Callback(on_end),
            "webhooks": [Webhook("http://127.0.0.1:9/hook", "failed")],
            "meta": {"day": date(2026, 1, 2)},
            "retry": Retry(max=2, interval=[1, 2]),
            "description": "a job with options",
        },
    ),
}  # fmt: skip


def write_samples(redis_url: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Enqueue every case on both hosts; the name of each sample, and what it holds."""
    with redis.Redis.from_url(redis_url) as connection:
        for host, web in WEBS.items():
            app = wire_app.create_app(host, redis_url)
            for name, case in CASES.items():
                job, seen = copy_context().run(enqueue, app, host, web, name, case)
                yield job.id, sample(connection, host, case, job, seen)
            job, seen = enqueue(app, host, web, "parent", Case("", job=wire_app.enqueue_another))
            app.extensions["ctxjobs"].queue().fetch_job(job.id).perform()
            child = app.extensions["ctxjobs"].queue().fetch_job(f"{host}-from_job")
            case = Case("Enqueued by a job, in the request of the job's view.")
            yield child.id, sample(connection, host, case, child, seen)


def enqueue(app: Any, host: str, web: Web, name: str, case: Case) -> tuple[Any, dict[str, Any]]:
    """Enqueue the job of a case; the job, and what the view saw."""
    out: list[Any] = []

    def view() -> str:
        case.before(web)
        options = {"job_id": f"{host}-{name}", **case.options}
        function = BOUND[host][1] if case.request is None else case.job
        out.append(function.options(**options).enqueue(host, **case.args))
        if case.request is not None:
            out.append(wire_app.look(web))
        return "enqueued"

    app.extensions["wire"] = view
    if case.request is None:
        view()
        with app.app_context():
            out.append(wire_app.look(web))
    else:
        answer = app.test_client().open(**{"path": "/räume/1", **case.request})
        assert answer.text == "enqueued", answer.text
    job, seen = out
    seen["g"]["db"] = "NoneType None"  # no sample carries it
    for kind, values in case.overridden.items():
        seen[kind] |= {name: wire_app.spell(value) for name, value in values.items()}
    return job, seen


def sample(connection: redis.Redis, host: str, case: Case, job: Any, seen: dict[str, Any]) -> dict[str, Any]:
    """What a file holds."""
    fields = {name.decode(): as_json(value) for name, value in sorted(connection.hgetall(job.key).items())}
    expected: dict[str, Any] = {"function": job.func_name, "snapshot": wire_app.facts(job.snapshot)}
    if case.refused:
        expected["refused"] = case.refused
    else:
        expected["result"] = {**seen, "passed": [["tuple"], wire_app.spell(case.args)]}
    return {
        "says": case.says,
        "wire_version": WIRE_VERSION,
        "host": host,
        "job_id": job.id,
        "secret_key": wire_app.SECRET_KEY,
        "hash": fields,
        "expected": expected,
    }


def as_json(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"hex": value.hex()}


def main() -> None:
    if FOLDER.exists() and "--again" not in sys.argv[1:]:
        sys.exit(f"{FOLDER} is there. If no release has written this version yet, replace it with --again.")
    FOLDER.mkdir(exist_ok=True)
    register_propagator(wire_app.PROPAGATOR)
    clock = SimpleNamespace(time=lambda: SIGNED_AT)
    with EmbeddedRedis() as server, patch("ctxjobs.envelope.time", clock):
        for name, content in write_samples(server.url):
            text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
            (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
