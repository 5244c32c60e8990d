"""What it costs to take a context along: capture and sign, verify and restore, beside pickle.

Prints one table per host, in microseconds of CPU; ``bench/README.md`` says how to read it. Not a test: it
asserts nothing, and needs Flask.
"""

from __future__ import annotations

import argparse
import pickle
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import flask
import msgspec
from itsdangerous import Signer
from werkzeug.test import EnvironBuilder

import ctxjobs
from ctxjobs.envelope import Binding, seal, unseal
from ctxjobs.propagation import Prepared, prepare, restore
from ctxjobs.registry import registry

Measured = Callable[[], Any]

#: What a browser sends: twelve headers, of which the default policy takes seven.
HEADERS = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "de-DE,de;q=0.9,en;q=0.5",
    "Cache-Control": "max-age=0",
    "Connection": "keep-alive",
    "Cookie": "session=abc",
    "Host": "shop.example",
    "Referer": "https://shop.example/cart",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Request-ID": "9f1c2b7e-5a0d-4f53-8f4e-7a3b6d2c1e90",
}
G = {
    "tenant": "acme",
    "user_id": 42,
    "locale": "de_DE",
    "plan": "gold",
    "beta": True,
    "tags": ["new", "rush"],
}
BINDING = Binding("9f1c2b7e", "2026-01-01T00:00:00.000000Z", "default", "0" * 64, ("", "", ""), "0" * 64)


@dataclass(frozen=True)
class Size:
    """A request of one size.

    Attributes:
        name: About how large its snapshot is.
        headers: Its headers.
        g: What the view has put on ``g``.
    """

    name: str
    headers: Mapping[str, str]
    g: Mapping[str, Any]


def rows_of(number: int) -> list[dict[str, Any]]:
    """Values like those of an order, about 80 bytes of JSON each."""
    return [
        {"sku": f"SKU-{n:06}", "name": f"Article number {n}", "pieces": n, "price": n * 1.5}
        for n in range(number)
    ]


SIZES = (
    Size("0.3 kB", {"Host": "shop.example"}, {"tenant": "acme"}),
    Size("typical", HEADERS, G),
    Size("8 kB", HEADERS, {**G, "lines": rows_of(98)}),
    Size("32 kB", HEADERS, {**G, "lines": rows_of(418)}),
)


def make_app(kind: Callable[[str], Any], name: str) -> Any:
    """An app with one route that is bound to ctxjobs."""
    app = kind(name)
    app.config.update(SECRET_KEY="b" * 32, CTXJOBS_APP_ID=name, CTXJOBS_SNAPSHOT_LIMIT_BYTES=100_000)
    app.add_url_rule("/order/<int:number>", "order", lambda number: "ok")
    ctxjobs.CtxJobs(app)
    return app


class Case:
    """One size on one host: what is measured, each a call without arguments.

    Args:
        app: The app.
        web: Where its framework has ``g``.
        size: What its request holds.
    """

    def __init__(self, app: Any, web: Any, size: Size) -> None:
        self.app, self.web, self.size = app, web, size
        self.environ = EnvironBuilder("/order/3?page=2", headers=dict(size.headers)).get_environ()
        app_id = app.config["CTXJOBS_APP_ID"]
        self.apps = {app_id: registry.apps[app_id]}
        with self.request():
            self.prepared = prepare(self.apps, None, "bench.job")
        self.sealed = self.seal(self.prepared)
        request: Any = self.prepared.snapshot.request
        self.values = {"environ": dict(request.environ), "g": dict(size.g)}
        self.pickled = pickle.dumps(self.values)
        self.primitive = msgspec.json.decode(self.prepared.encoded)
        self.signer = Signer(b"b" * 32)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Inside, the request is active."""
        with self.app.request_context(dict(self.environ)):
            for name, value in self.size.g.items():
                setattr(self.web.g, name, value)
            yield

    def seal(self, prepared: Prepared) -> bytes:
        """Sign what was captured."""
        app = prepared.app
        return seal(
            prepared.encoded, app_id=app.id, function="bench.job", binding=BINDING, keyring=app.keyring
        )

    def capture(self) -> bytes:
        """Capture, encode and sign; inside the request."""
        return self.seal(prepare(self.apps, None, "bench.job"))

    def restore(self) -> None:
        """Verify, decode, rebuild, push, pop."""
        envelope = unseal(self.sealed, binding=BINDING, keyrings=registry.keyrings())
        with restore(envelope.snapshot):
            pass

    def dumps(self) -> bytes:
        """The same values through pickle, unsigned."""
        return pickle.dumps(self.values)

    def loads(self) -> Any:
        """And back."""
        return pickle.loads(self.pickled)

    def sign(self) -> bytes:
        """The floor: one signature over the encoded snapshot."""
        return self.signer.sign(self.prepared.encoded)

    def encode(self) -> bytes:
        """The floor: msgspec writes it."""
        return msgspec.json.encode(self.primitive)

    def decode(self) -> Any:
        """The floor: msgspec reads it."""
        return msgspec.json.decode(self.prepared.encoded)

    def push_and_pop(self) -> None:
        """The floor: the framework's own request context."""
        context = self.app.request_context(dict(self.environ))
        context.push()
        context.pop(None)


COLUMNS = ("capture", "dumps", "restore", "loads", "sign", "encode", "decode", "push_and_pop")


def time_us(run: Measured, calls: int) -> float:
    """The mean CPU time of *calls* calls, in microseconds."""
    start = time.process_time_ns()
    for _ in range(calls):
        run()
    return (time.process_time_ns() - start) / calls / 1000


def measure(case: Case, rounds: int, calls: int) -> dict[str, float]:
    """The median of each column; taken in turns, so that a slow spell of the machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in COLUMNS}
    for _ in range(rounds):
        for name in COLUMNS:
            with case.request() if name == "capture" else nullcontext():
                times[name].append(time_us(getattr(case, name), calls))
    return {name: statistics.median(taken) for name, taken in times.items()}


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=40, help="times that each is measured (default: 40)")
    parser.add_argument("--calls", type=int, default=200, help="calls in one measurement (default: 200)")
    options = parser.parse_args()
    names = ("ctxjobs", "flask", "werkzeug", "itsdangerous", "msgspec")
    print(f"Python {platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in names)}")
    print(f"microseconds of CPU; medians of {options.rounds} rounds of {options.calls} calls, in turns\n")
    for kind, web in ((flask.Flask, flask), (ctxjobs.App, ctxjobs)):
        app = make_app(kind, f"bench-{web.__name__}")
        print(f"{web.__name__:10}{'bytes':>8}" + "".join(f"{name:>14}" for name in COLUMNS))
        for size in SIZES:
            case = Case(app, web, size)
            figures = measure(case, options.rounds, options.calls)
            print(
                f"{size.name:10}{len(case.sealed):8}" + "".join(f"{figures[name]:14.1f}" for name in COLUMNS)
            )
        print()


if __name__ == "__main__":
    main()
