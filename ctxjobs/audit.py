"""The read audit: which captured names the jobs of a function really read, and which they missed.

Written after each audited run, read back as the smallest policy that would have served. Names and counts; no
value is ever written. May import the floors of the registry, the connection and the hosts; knows no RQ.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis

from ctxjobs.connection import connection_of, translated
from ctxjobs.errors import ConfigError, NoAuditError
from ctxjobs.hosts.reads import Reads
from ctxjobs.keys import AUDIT_LIFETIME_S, audit_key
from ctxjobs.policy import SAFE_HEADERS, Capture, header_name
from ctxjobs.registry import BoundApp, RegisteredFunction, registry
from ctxjobs.snapshot import Snapshot

_log = logging.getLogger("ctxjobs")

#: Fields of one audit. A function reads a handful of names; one that makes up names finds no end.
MAX_FIELDS: Final = 500
#: Longer paths are not recorded.
MAX_PATH_LENGTH: Final = 120

_WHAT: Final = ("captured", "read", "missed", "withheld")

_SOURCE: Final = '''\
from ctxjobs import SAFE_HEADERS, Capture


def policy_of_{name}(policy: Capture) -> Capture:
    """What {runs} audited run(s) of {function} needed in app {app}."""
    return policy.replace(
{changes}
    )
'''


def audited(snapshot: Snapshot, job_id: str) -> Reads | None:
    """What notes the reads of a run, if it is one of those that ``CTXJOBS_AUDIT`` of its app samples."""
    app = registry.apps.get(snapshot.app_id)
    share = 0.0 if app is None else app.settings.audit
    if not share or random.random() >= share:  # noqa: S311 - a sample, no secret
        return None
    return Reads(snapshot, job_id)


def record(connection: Redis, app_id: str, function: str, reads: Reads, *, is_run: bool) -> None:
    """Add what was noted to the audit of *function*. A failure is logged, and costs no job.

    Args:
        connection: The Redis of the job.
        app_id: The app of the job.
        function: Dotted name of its function.
        reads: What was noted.
        is_run: Whether it was the function that ran, and not something that belongs to its run: a callback.
    """
    fields = ["runs"] if is_run else []
    for what in _WHAT:
        paths: Iterable[str] = sorted(getattr(reads, what))
        fields += [f"{what} {path}" for path in paths if len(path) <= MAX_PATH_LENGTH and path.isprintable()]
    try:
        _write(connection, audit_key(app_id, function), fields, reads.body_bytes)
    except Exception as exc:  # noqa: BLE001 - whatever Redis says: the job has its outcome already
        _log.warning("job %s: its audit was not recorded (%s: %s)", reads.job_id, type(exc).__name__, exc)


def _write(connection: Redis, key: str, fields: Sequence[str], body_bytes: int) -> None:
    known = {_text(name): value for name, value in connection.hgetall(key).items()}
    room = MAX_FIELDS - len(known)  # workers that write at the same moment may pass the bound, once
    new = [field for field in fields if field not in known][: max(room, 0)]
    with connection.pipeline(transaction=False) as pipeline:
        for field in fields:
            if field in known or field in new:
                pipeline.hincrby(key, field, 1)
        if body_bytes > int(known.get("body_bytes", 0)):
            pipeline.hset(key, "body_bytes", body_bytes)
        pipeline.expire(key, AUDIT_LIFETIME_S)
        pipeline.execute()


@dataclass(frozen=True, slots=True)
class Audit:
    """What the audited runs of a function have read; each mapping has the number of runs by path.

    Attributes:
        function: Dotted name of the function.
        app_id: The app in whose contexts it ran.
        runs: How many runs were audited.
        captured: What they had.
        read: What they read of it, by whatever means.
        missed: What they looked for, and a list of the policy could have taken.
        withheld: What they looked for, and no list could have taken: it never travels, is local, did not
            encode, or was too large.
        body_bytes: Size of the largest body that they read.
    """

    function: str
    app_id: str
    runs: int
    captured: Mapping[str, int]
    read: Mapping[str, int]
    missed: Mapping[str, int]
    withheld: Mapping[str, int]
    body_bytes: int

    @property
    def unread(self) -> tuple[str, ...]:
        """What was captured and never read."""
        return tuple(sorted(self.captured.keys() - self.read.keys()))

    def policy(self, base: Capture = Capture()) -> Capture:  # noqa: B008 - frozen
        """The smallest policy that would have served, derived from *base*.

        Usable as ``@job(capture=audit.policy)``. The safe headers and the propagators stay, and so does all
        that *base* says about single values. A name with a leading underscore that was missed is not
        added: extensions ask for theirs everywhere. A body that was missed leaves ``body_bytes`` as it
        is, because its size is not known.
        """
        changes: dict[str, Any] = {} if "body" in self.missed else {"body_bytes": self.body_bytes}
        skips: dict[str, Any] = dict.fromkeys(self._sometimes_skipped(), "skip")
        return base.replace(
            headers=(*SAFE_HEADERS, *self._more_headers()),
            session=self._names("session"),
            g=self._names("g") or "none",
            on_error={**skips, **base.on_error},
            **changes,
        )

    def source(self) -> str:
        """A function that derives this policy from the app's, as Python to paste."""
        more, skips = self._more_headers(), dict.fromkeys(self._sometimes_skipped(), "skip")
        lines = [
            f"headers=(*SAFE_HEADERS, {', '.join(map(repr, more))})," if more else "headers=SAFE_HEADERS,",
            f"session={self._names('session')!r},",
            f"g={self._names('g') or 'none'!r},",
        ]
        if skips:
            lines.append(f"on_error={{**{skips!r}, **policy.on_error}},")
        if "body" in self.missed:
            lines.append("# The body was missed, and its size is not known: add body_bytes=...")
        else:
            lines.append(f"body_bytes={self.body_bytes},")
        return _SOURCE.format(
            name=self.function.rpartition(".")[2],
            runs=self.runs,
            function=self.function,
            app=self.app_id,
            changes="\n".join(f"        {line}" for line in lines),
        )

    def __str__(self) -> str:
        lines = [f"{self.function} in app {self.app_id}: {self.runs} audited run(s)"]
        for what in ("read", "missed", "withheld"):
            lines += [f"  {what} {path} ({count})" for path, count in sorted(getattr(self, what).items())]
        return "\n".join([*lines, *(f"  never read {path}" for path in self.unread)])

    def _more_headers(self) -> tuple[str, ...]:
        safe = {header_name(name) for name in SAFE_HEADERS}
        return tuple(name for name in self._names("headers") if name not in safe)

    def _sometimes_skipped(self) -> list[str]:
        """What a rule skipped in some runs, and would fail the enqueue now that it is named."""
        return sorted(path for path in self.read.keys() & self.withheld.keys() if path != "body")

    def _names(self, kind: str) -> tuple[str, ...]:
        paths = self.read.keys() | {path for path in self.missed if not path.startswith("g._")}
        return tuple(sorted(path.partition(".")[2] for path in paths if path.startswith(f"{kind}.")))


def smallest_policy(
    function: RegisteredFunction | str, *, app: Any = None, connection: Redis | None = None
) -> Audit:
    """The audit of a function, which knows the smallest policy that would have served its jobs.

    Args:
        function: A job function, or its dotted name.
        app: The app, bound, or its id; ``current_app`` will do. None means the only app that is bound.
        connection: The Redis of its jobs; None means that of the app.

    Raises:
        NoAuditError: No run of it was audited.
        ConfigError: Which app is not known, or nothing names a Redis.
        RedisUnavailableError: The app's Redis does not answer.
    """
    path = function if isinstance(function, str) else function.path
    if connection is not None and isinstance(app, str):
        return _read(connection, app, path)
    bound = _only_app(app)
    if connection is not None:
        return _read(connection, bound.id, path)
    with translated(bound):
        return _read(connection_of(bound), bound.id, path)


def _only_app(app: Any) -> BoundApp:
    if app is None or isinstance(app, str):
        found = [bound for bound in registry.apps.values() if app in (None, bound.id)]
    else:
        found = [bound for bound in [registry.find(app)] if bound is not None]
    if len(found) != 1:
        bound = ", ".join(registry.apps) or "none"
        raise ConfigError("smallest_policy(app=...)", f"name one app; the apps bound here are: {bound}.")
    return found[0]


def _read(connection: Redis, app_id: str, function: str) -> Audit:
    fields: dict[Any, Any] = connection.hgetall(audit_key(app_id, function))
    if not fields:
        raise NoAuditError(function, app_id)
    counts = {_text(name): int(value) for name, value in fields.items()}
    by_path: dict[str, dict[str, int]] = {what: {} for what in _WHAT}
    for name, count in counts.items():
        what, _, path = name.partition(" ")
        if path and what in by_path:
            by_path[what][path] = count
    return Audit(function, app_id, counts.get("runs", 0), **by_path, body_bytes=counts.get("body_bytes", 0))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
