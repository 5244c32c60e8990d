"""The workers that are compared: each runs all kinds of job, in a Redis of its own, all at the same time.

May import the kinds and the states.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from redis import Redis
from support import depot
from support.equivalence.kinds import CODES, KILLING, KINDS, WITH_JSON, Enqueuer
from support.equivalence.states import LOOKS, State, read
from support.worker_process import DEPOT, PYTHONPATH, UNMEASURED

from ctxjobs.embedded import EmbeddedRedis

#: The longest that one worker may take for all kinds, in seconds.
TIMEOUT_S: Final = 180.0

_RQ: Final = ("-m", "rq.cli", "worker", "--burst", "--config=support.equivalence.preloaded", "--url={url}")
_OURS: Final = ("-m", "ctxjobs", "worker", *DEPOT, "--allow-plain=*", "--burst", "--kill-grace-s=1")

_IN_ITS_PLACE: Final = "--worker-class=ctxjobs_worker.worker.Worker"
_JSON: Final = "--serializer=json"

#: RQ's own worker, which forks; ours in its place; ours with its supervisor; the same, which forks, too.
WAYS: Final[dict[str, tuple[str, ...]]] = {
    "rq": _RQ,
    "rq, JSON": (*_RQ, _JSON),
    "Worker": (*_RQ, _IN_ITS_PLACE),
    "Worker, JSON": (*_RQ, _IN_ITS_PLACE, _JSON),
    "ctxjobs worker": _OURS,
    "ctxjobs worker --isolate": (*_OURS, "--isolate"),
}


@dataclass(frozen=True)
class Ran:
    """What one worker has left.

    Attributes:
        before: What was in Redis before it came.
        after: What was there when it was done.
        looks: What jobs have seen while they ran, by job id.
        hooks: What webhooks were told, in order: path, payload.
        log: What it has logged.
    """

    before: State
    after: State
    looks: Mapping[str, State]
    hooks: list[tuple[str, Mapping[str, Any]]]
    log: str


def kinds_of(way: str) -> list[str]:
    """The kinds that this worker can be asked to run."""
    if _JSON in WAYS[way]:
        return list(WITH_JSON)
    return [kind for kind in KINDS if _IN_ITS_PLACE not in WAYS[way] or kind not in KILLING]


def stock_of(way: str) -> str:
    """The stock worker that this one is compared with."""
    return "rq, JSON" if _JSON in WAYS[way] else "rq"


def run_all() -> dict[str, Ran]:
    """Let all of them run all kinds."""
    with ExitStack() as stack:
        prepared = {way: _prepare(way, stack) for way in WAYS}
        with ThreadPoolExecutor() as threads:
            runs = {way: threads.submit(one.run) for way, one in prepared.items()}
            return {way: run.result() for way, run in runs.items()}


@dataclass(frozen=True)
class _Prepared:
    way: str
    connection: Redis
    url: str
    before: State
    hooks: list[tuple[str, Mapping[str, Any]]]

    def run(self) -> Ran:
        command = [sys.executable, *(part.format(url=self.url) for part in WAYS[self.way])]
        command += [queue for kind in KINDS for queue in (CODES[kind], f"{CODES[kind]}-other")]
        settings = {"PYTHONPATH": PYTHONPATH, "CTXJOBS_REDIS_URL": self.url, "CTXJOBS_APP": DEPOT[1]}
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **settings, **UNMEASURED},
            timeout=TIMEOUT_S,
            check=False,
        )
        log = done.stdout.decode(errors="replace")
        assert done.returncode == 0, f"{self.way} ended with {done.returncode}: ... {log[-3000:]}"
        raw: Any = self.connection.hgetall(LOOKS)
        looks = {job_id.decode(): pickle.loads(state) for job_id, state in raw.items()}
        return Ran(self.before, read(self.connection), looks, self.hooks, log)


def _prepare(way: str, stack: ExitStack) -> _Prepared:
    server = stack.enter_context(EmbeddedRedis())
    connection = stack.enter_context(Redis.from_url(server.url))
    hooks, url = _hooks(stack)
    app = depot.create_app(redis_url=server.url)
    with app.app_context():
        for kind in kinds_of(way):
            KINDS[kind](Enqueuer(connection, CODES[kind], url, "json" if _JSON in WAYS[way] else "pickle"))
    return _Prepared(way, connection, server.url, read(connection), hooks)


def _hooks(stack: ExitStack) -> tuple[list[tuple[str, Mapping[str, Any]]], str]:
    """A web server that takes note of what is posted to it: the notes, and its address."""
    notes: list[tuple[str, Mapping[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            notes.append((self.path, json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return notes, f"http://127.0.0.1:{server.server_port}/hook"
