"""What the fault bench shares: a bench for each test, or for a module that has one worker for its tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.faults.bench import Bench, running_bench
from support.faults.servers import Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Processes are found in /proc, which only Linux has."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not sys.platform.startswith("linux"):
            item.add_marker(pytest.mark.skip(reason="finds processes in /proc"))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench of this test alone, with a Redis of its own."""
    with Server(tmp_path / "redis") as server, Bench(tmp_path, server.url) as bench:
        yield bench


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A bench of this module, with a Redis of its own, and two children that are kept running."""
    with running_bench(tmp_path_factory.mktemp("bench"), "-c", "2") as bench:
        yield bench
