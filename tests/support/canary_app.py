"""An app of either host that holds secrets wherever a context can hold one, and jobs that go wrong with it.

Every secret starts with ``CANARY``; the name behind it says where it was planted. No code of the app shows
one: whatever is shown later, somebody else has shown.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

from rq import Callback, Retry
from support.both_hosts import WEBS, Web

import ctxjobs
from ctxjobs import SAFE_HEADERS, Capture, Override, codec, register_propagator
from ctxjobs.errors import JobDroppedError
from ctxjobs.propagators import ContextVarPropagator

CANARY = "CANARY"
POLICY = Capture(headers=(*SAFE_HEADERS, "X-Token"), session=("user",), body_bytes=1000)

ticket: ContextVar[str] = ContextVar("support.canary_app.ticket")
#: Registered by whoever uses this app, not by the import: it would capture for the apps of other tests.
PROPAGATOR = ContextVarPropagator("canary.ticket", ticket)


def secret(place: str) -> str:
    return f"{CANARY}-{place}"


class Secretive:
    """Does not encode; its repr and its str are a secret."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __repr__(self) -> str:
        return secret(self.place)


@codec.register
@dataclass(frozen=True)
class Card:
    number: str


# --- jobs ------------------------------------------------------------------------------------


def held(web: Web) -> list[str]:
    """What the job holds in its hands, so that its frames do, too."""
    request = web.module.request
    found = [web.g.token, web.g.nested["keys"][0], web.g.card.number, web.module.session["user"]]
    return [
        *found,
        request.headers["X-Token"],
        request.args["code"],
        request.get_data(as_text=True),
        ticket.get(),
    ]


@ctxjobs.job
def fine(host: str, card: str) -> int:
    return sum(CANARY in one for one in [*held(WEBS[host]), card])


@ctxjobs.job
def broken(host: str, card: str) -> None:
    mine = [*held(WEBS[host]), card]
    raise ValueError(f"the job failed with {len(mine)} secrets in its hands")


@ctxjobs.job
def unstorable(host: str, card: str) -> Any:
    return {"result": [Secretive("result")]}


@ctxjobs.job
def missing(host: str, card: str) -> None:
    """Read what did not travel, and fail with all that the errors say."""
    web = WEBS[host]
    reads: list[Any] = [lambda: web.g.skipped, lambda: web.g.large, lambda: web.module.session["cart"]]
    reads.append(lambda: web.module.request.headers["X-Other"])
    raise ValueError("\n".join(said_by(read) for read in reads))


def said_by(read: Any) -> str:
    try:
        return f"no error but {type(read()).__name__}"
    except (AttributeError, LookupError) as error:
        return f"{error!r} {error}"


@ctxjobs.job
def dropped(host: str, card: str) -> None:
    held(WEBS[host])
    raise JobDroppedError("not needed any more")


def on_end(job: Any, connection: Any, *args: Any) -> None:
    connection.incr("callbacks")


JOBS = {"fine": fine, "broken": broken, "unstorable": unstorable, "missing": missing, "dropped": dropped}

# --- what cannot be enqueued -----------------------------------------------------------------

MISTAKES: dict[str, Any] = {
    "argument": lambda: fine.enqueue("flask", Secretive("argument")),
    "argument-nested": lambda: fine.enqueue("flask", {"card": [1, Secretive("argument")]}),
    "argument-large": lambda: fine.enqueue("flask", secret("argument") * 1_200_000),
    "too-many-arguments": lambda: fine.enqueue("flask", "1", secret("argument")),
    "unknown-argument": lambda: fine.enqueue("flask", card=secret("argument"), other=secret("argument")),
    "not-a-job": lambda: ctxjobs.Queue(connection=object()).enqueue(partial(fine, secret("argument"))),
    "callback": lambda: fine.options(on_success=Callback(partial(on_end, secret("argument")))).enqueue(
        "f", "1"
    ),
    "meta": lambda: fine.options(meta={"card": Secretive("meta")}).enqueue("flask", "1"),
    "named": lambda: ctxjobs.capture(POLICY.replace(g=("token", "skipped"))),
    "named-large": lambda: ctxjobs.capture(POLICY.replace(g=("token", "large"))),
    "session": lambda: ctxjobs.capture(context=Override(session={"raw": Secretive("session.raw")})),
    "override": lambda: ctxjobs.capture(context=Override(g={"token": Secretive("override")})),
    "override-never": lambda: Override(session={"csrf_token": secret("override")}),
    "system": lambda: ctxjobs.capture(context=Override(nobody=secret("override"))),
    "propagator": lambda: with_ticket(Secretive("ticket")),
}


def with_ticket(value: Any) -> None:
    ticket.set(value)
    ctxjobs.capture()


# --- the app ---------------------------------------------------------------------------------


def plant(web: Web) -> None:
    """Put a secret wherever a context can hold one."""
    web.g.token, web.g.nested, web.g.card = (
        secret("g"),
        {"keys": [secret("g.nested")]},
        Card(secret("g.card")),
    )
    web.g._private, web.g.skipped, web.g.large = (
        secret("g.private"),
        Secretive("g.skipped"),
        secret("g") * 9000,
    )
    web.module.session.update(user=secret("session"), cart=[secret("session.cart")])
    ticket.set(secret("ticket"))


REQUEST: dict[str, Any] = {
    "method": "POST",
    "query_string": {"code": secret("query")},
    "data": secret("body"),
    "content_type": "text/plain",
    "headers": {
        "X-Token": secret("header"),
        "X-Other": secret("header.other"),
        "Authorization": f"Bearer {secret('authorization')}",
        "Cookie": f"visitor={secret('cookie')}",
    },
}


def create_app(host: str) -> Any:
    """The app. ``/enqueue/<name>/<id>`` enqueues a job, ``/mistake/<name>`` fails to."""
    web = WEBS[host]
    app = web.App("canary")
    app.config.update(
        SECRET_KEY=secret("key") + "k" * 20,
        SECRET_KEY_FALLBACKS=[secret("old.key")],
        CTXJOBS_APP_ID=f"canary-{host}",
        CTXJOBS_CAPTURE=POLICY,
    )

    def enqueue(name: str, job_id: str) -> str:
        plant(web)
        options: dict[str, Any] = {"on_success": Callback(on_end), "on_failure": Callback(on_end)}
        options |= {"retry": Retry(max=1)} if name == "broken" else {}
        app.extensions["prepared"] = JOBS[name].prepare()
        JOBS[name].options(job_id=job_id, **options).enqueue(host, secret("argument"))
        return "enqueued"

    def mistake(name: str) -> str:
        plant(web)
        MISTAKES[name]()
        return "no mistake"

    app.add_url_rule("/enqueue/<name>/<job_id>", "enqueue", enqueue, methods=["POST"])
    app.add_url_rule("/mistake/<name>", "mistake", mistake, methods=["POST"])
    ctxjobs.CtxJobs(app)
    return app


def serve(host: str) -> Any:
    """The app for a process of its own."""
    register_propagator(PROPAGATOR)
    return create_app(host)
