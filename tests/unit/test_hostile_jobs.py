"""Job hashes that somebody made up: read in one way only, in bounded time and memory; no Redis is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from support import hostile, wire_app
from support.worker_process import PYTHONPATH, UNMEASURED

from ctxjobs import ContextJob
from ctxjobs.errors import JobRefusedError
from ctxjobs.propagators import base
from ctxjobs.registry import registry

SAMPLE = json.loads((Path(__file__).parents[1] / "wire/v1/native-options.json").read_text("utf-8"))
HASH = {
    name: value.encode() if isinstance(value, str) else bytes.fromhex(value["hex"])
    for name, value in SAMPLE["hash"].items()
}
#: Further fields that RQ reads.
FIELDS = [
    *HASH,
    *("result", "exc_info", "ttl", "failure_ttl", "dependency_id", "dependency_ids", "number_of_retries"),
    *("allow_dependency_failures", "enqueue_at_front", "enqueue_at_front_on_retry", "repeats_left"),
    *("repeat_intervals", "success_callback_timeout", "stopped_callback_timeout", "result_ttl"),
]
ODD_BYTES = (b"", b"\xff", b"0", b"-1", b"1e400", b"9" * 30, b"9" * 5000, b"null", b"[" * 2000, b'{"a":1}')


@pytest.fixture(scope="module", autouse=True)
def own_registries() -> Iterator[None]:
    """The app of the sample, and no other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "apps", {})
        patch.setattr(base, "_propagators", {wire_app.PROPAGATOR.name: wire_app.PROPAGATOR})
        wire_app.create_app("native")
        yield


def outcome(fields: dict[Any, Any]) -> Any:
    """What comes of a job with these fields: its result, or its refusal."""
    job = ContextJob(SAMPLE["job_id"], connection=redis.Redis())
    job.restore(fields)
    job.to_dict()  # what a worker writes about it
    try:
        return job.run()
    except JobRefusedError as refusal:
        return refusal


def test_the_sample_runs() -> None:
    """Unchanged, it does what it should: the tests below can fail."""
    assert json.loads(json.dumps(outcome(dict(HASH)))) == SAMPLE["expected"]["result"]


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(ODD_BYTES) | st.binary(max_size=30), min_size=1)
)
def test_changed_fields_refuse_a_job_or_change_nothing(changes: dict[str, bytes]) -> None:
    """Whatever the fields of a job hold, it does what it was signed for, or is refused."""
    result = outcome({**HASH, **changes})
    assert isinstance(result, JobRefusedError) or result == outcome(dict(HASH))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(FIELDS),
    st.sampled_from(sorted(HASH)),
    st.integers(0, 5000),
    st.binary(max_size=3),
    st.booleans(),
)
def test_a_field_that_is_cut_moved_or_gone_refuses_a_job_or_changes_nothing(
    target: str, source: str, at: int, more: bytes, keep: bool
) -> None:
    """One field gets the bytes of another one, with some of them changed, or is taken away."""
    changed = dict(HASH)
    old = changed.pop(target, b"")
    if keep:
        value = HASH[source] if more else old
        at %= len(value) + 1
        changed[target] = value[:at] + more + value[at + 1 :]
    result = outcome(changed)
    assert isinstance(result, JobRefusedError) or result == outcome(dict(HASH))


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from(FIELDS).map(str.encode) | st.binary(max_size=9), st.binary(max_size=60))
)
def test_any_hash_at_all_is_refused(fields: dict[bytes, bytes]) -> None:
    """No bytes that lie under a job's key make anything run."""
    assert isinstance(outcome({**fields, b"ctxjobs": b"1:x"}), JobRefusedError)
    assert isinstance(outcome({**fields}), JobRefusedError)


@pytest.fixture(scope="module")
def endings() -> dict[str, dict[str, Any]]:
    """What became of each hostile input, and what it took."""
    command = [sys.executable, "-m", "support.hostile"]
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, **UNMEASURED}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    return {ending["name"]: ending for ending in map(json.loads, run.stdout.splitlines())}


@pytest.mark.parametrize("name", hostile.INPUTS)
def test_a_bomb_costs_bounded_memory_and_time(endings: dict[str, dict[str, Any]], name: str) -> None:
    """At about the largest size that is read at all, it ends soon, in 250 MB, in our error or a value."""
    ending = endings[name]
    assert ending["outcome"] in ("value", "DecodeError", "BadSignatureError")
    assert ending["seconds"] < 20
    assert ending["kb"] < 250_000
