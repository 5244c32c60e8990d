"""Every test starts with no app bound, and ends with no context of Flask or ours active."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.capturing import Recorder

from ctxjobs.hosts import context_vars
from ctxjobs.registry import registry


@pytest.fixture(autouse=True)
def nothing_bound() -> Iterator[None]:
    before = dict(registry.apps)
    registry.apps.clear()
    yield
    registry.apps.clear()
    registry.apps.update(before)
    assert [variable.name for variable in context_vars() if variable.get(None) is not None] == []


@pytest.fixture
def view() -> Recorder:
    return Recorder()
