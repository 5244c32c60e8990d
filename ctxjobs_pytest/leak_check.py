"""The leak check: a test fails that leaves something behind, or whose jobs do.

Loaded if it is switched on. Contexts are looked for after the test's function, threads and sessions after the
teardown of its fixtures; what fixtures have set up before is not the test's.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from ctxjobs.hosts import context_vars, pop_others
from ctxjobs.leaks import Watch, leaked
from ctxjobs.registry import registry

_WATCH = pytest.StashKey[Watch]()


class LeakCheck:
    """Hooks around each test."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Run the test's function; look for contexts, and for what its jobs left."""
        if item.get_closest_marker("ctxjobs_allow_leaks"):
            return (yield)
        item.stash[_WATCH] = Watch(app.host.app for app in registry.apps.values())
        outer = [variable.get(None) for variable in context_vars()]
        leaks: list[str] = []

        def note(job_id: str, left: list[str]) -> None:
            leaks.extend(f"job {job_id}: {leak}" for leak in left)

        try:
            with leaked.connected_to(note):
                result = yield
        finally:
            leaks += pop_others(context_vars(), outer)
        _fail(leaks)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Take the fixtures down; look for threads and sessions."""
        result = yield
        watch = item.stash.get(_WATCH, None)
        _fail(watch.leaks() if watch is not None else [])
        return result


def _fail(leaks: list[str]) -> None:
    if leaks:
        texts = "\n".join(f"  - {leak}" for leak in leaks)
        pytest.fail(f"The test left something behind:\n{texts}", pytrace=False)
