"""Samples of every wire version that a release has written: this release reads them all.

``tests/wire/v1`` and so on hold jobs as they stand in Redis, and what has to come out of them; they are
written by ``tests/wire/write_samples.py``, once for each version, and read here as files alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis
from support import wire_app

from ctxjobs import ContextJob
from ctxjobs.propagators import base
from ctxjobs.registry import registry
from ctxjobs.snapshot import WIRE_VERSION

FOLDER = Path(__file__).parents[1] / "wire"
SAMPLES = sorted(FOLDER.glob("v*/*.json"))


@pytest.fixture(autouse=True)
def own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """No app of another test, and the propagator of the samples."""
    monkeypatch.setattr(registry, "apps", {})
    monkeypatch.setattr(base, "_propagators", {wire_app.PROPAGATOR.name: wire_app.PROPAGATOR})


@pytest.fixture(params=SAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def sample(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One sample; its app is bound."""
    content: dict[str, Any] = json.loads(request.param.read_text("utf-8"))
    assert content["secret_key"] == wire_app.SECRET_KEY
    wire_app.create_app(content["host"])
    return content


def restored(sample: dict[str, Any]) -> ContextJob:
    """The job of a sample, as a worker would fetch it; no Redis is asked."""
    fields = {
        name: value.encode() if isinstance(value, str) else bytes.fromhex(value["hex"])
        for name, value in sample["hash"].items()
    }
    job = ContextJob(sample["job_id"], connection=redis.Redis())
    job.restore({name.encode(): value for name, value in fields.items()})
    return job


def test_a_job_of_any_wire_version_is_read(sample: dict[str, Any]) -> None:
    """What a sample's job says of itself, and sees when it runs, is what its view had; or it is refused."""
    job, expected = restored(sample), sample["expected"]
    if "refused" in expected:
        assert type(job.refusal).__name__ == expected["refused"]
        return
    assert job.refusal is None
    assert job.func_name == expected["function"]
    assert job.snapshot is not None
    assert wire_app.facts(job.snapshot) == expected["snapshot"]
    assert json.loads(json.dumps(job.run())) == expected["result"]


def test_a_sample_of_an_earlier_version_is_kept_byte_for_byte(sample: dict[str, Any]) -> None:
    """A retry or requeue writes the envelope that the earlier release has signed."""
    job = restored(sample)
    written = job.to_dict().get("ctxjobs")
    assert written == (None if job.refusal else sample["hash"]["ctxjobs"].encode())


def test_every_wire_version_has_its_samples() -> None:
    """Whoever raises the version writes samples of it, of all kinds, on both hosts."""
    kinds = {path.stem for path in (FOLDER / "v1").iterdir()}
    assert {kind.partition("-")[0] for kind in kinds} == {"flask", "native"}
    for version in range(1, WIRE_VERSION + 1):
        assert {path.stem for path in (FOLDER / f"v{version}").iterdir()} >= kinds
