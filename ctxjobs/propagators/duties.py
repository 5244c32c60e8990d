"""What some propagators do besides capture and restore: check, leave something in ``job.meta``, flush.

May import :mod:`ctxjobs.propagators.base` and the floors of values; knows no extension.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ctxjobs import codec
from ctxjobs.codec import Primitive
from ctxjobs.propagators.base import SupportsFlush, registered_propagators
from ctxjobs.snapshot import Snapshot

_log = logging.getLogger("ctxjobs")


def checked(taken: Mapping[str, Primitive], skipped: dict[str, str]) -> dict[str, Primitive]:
    """What of the state that was *taken* may travel; the reasons for the rest are added to *skipped*."""
    if not taken:
        return {}
    out = dict(taken)
    for name, check in _duties(taken, "check"):
        path = f"propagators.{name}"
        value, reasons = check(codec.decode(out[name], path))
        out[name] = codec.encode(value, path)
        skipped.update((f"{path}.{part}", reason) for part, reason in reasons.items())
    return out


def meta_for(snapshot: Snapshot) -> dict[str, Any]:
    """What the libraries of propagators look for in the ``meta`` of a job with this *snapshot*."""
    found: dict[str, Any] = {}
    for name, meta in _duties(snapshot.propagators, "meta"):
        found.update(meta(codec.decode(snapshot.propagators[name], f"propagators.{name}")))
    return found


def _duties(names: Iterable[str], method: str) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """The *method* of those propagators with these *names* that have it."""
    if names:
        registered = registered_propagators()
        for name in names:
            # Not isinstance(): see rules.py.
            duty = getattr(registered.get(name), method, None)
            if duty is not None:
                yield name, duty


def flush_propagators() -> None:
    """Let every library that records send what it has; one that fails keeps no process from ending."""
    for name, propagator in registered_propagators().items():
        if isinstance(propagator, SupportsFlush):
            try:
                propagator.flush()
            except Exception:  # noqa: BLE001 - whatever a library raises: the process ends all the same
                _log.exception("propagator %s: what its library recorded may be lost", name)
