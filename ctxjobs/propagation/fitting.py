"""A snapshot as bytes, within its limit.

Where a value is too large by itself, the policy says what becomes of it. May import the policy, the snapshot
and the codec; reads no context.
"""

from __future__ import annotations

from msgspec.structs import replace

from ctxjobs import codec
from ctxjobs.errors import SnapshotTooLargeError, ValueLimitError
from ctxjobs.policy import Capture
from ctxjobs.propagation.taking import Leaving, settle
from ctxjobs.snapshot import Snapshot


def encode_fitting(snapshot: Snapshot, policy: Capture, limit_bytes: int) -> tuple[Snapshot, bytes]:
    """Encode *snapshot*; where a value is too large by itself, its policy says what to do with it.

    Raises:
        SnapshotTooLargeError: It takes more than *limit_bytes* all the same.
    """
    try:
        return snapshot, snapshot.to_bytes(limit_bytes)
    except SnapshotTooLargeError:
        smaller = _without_large(snapshot, policy, limit_bytes)
        if smaller is None:
            if not snapshot.left_out:
                raise
            smaller = replace(snapshot, left_out={})  # advice costs no job
    return encode_fitting(smaller, policy, limit_bytes)


def _without_large(snapshot: Snapshot, policy: Capture, limit_bytes: int) -> Snapshot | None:
    """*snapshot* without the values that do not fit by themselves; None if there are none to leave out."""
    leaving = Leaving()
    kept = {}
    for plan, values in ((policy.plans.g, snapshot.g), (policy.plans.session, snapshot.session or {})):
        kept[plan.kind] = dict(values)
        for name, value in values.items():
            size = len(codec.dumps(value))
            may_change = name not in plan.fails and plan.path(name) not in snapshot.overrides
            if size > limit_bytes and may_change and value is not plan.defaults.get(name):
                error = ValueLimitError(plan.path(name), "bytes", size, limit_bytes)
                settle(error, name, plan, leaving, kept[plan.kind])
    if kept == {"g": snapshot.g, "session": snapshot.session or {}}:
        return None
    session = None if snapshot.session is None else kept["session"]
    return replace(snapshot, g=kept["g"], session=session, skipped={**snapshot.skipped, **leaving.reasons})
