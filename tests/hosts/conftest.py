"""The hosts, and the matrix: run once for each combination; the tests of this folder read its account."""

from __future__ import annotations

import pytest
from support.both_hosts import WEBS, Web
from support.matrix.account import Account
from support.matrix.running import COMBINATIONS, run_both_hosts, run_matrix
from support.matrix.workers import WORKERS

from ctxjobs.propagators import base
from ctxjobs.registry import registry


@pytest.fixture(scope="session", params=COMBINATIONS, ids="-".join)
def account(request: pytest.FixtureRequest, redis_url: str) -> Account:
    """What happened on one host with one kind of worker."""
    return run_matrix(redis_url, *request.param)


@pytest.fixture(scope="session", params=WORKERS)
def shared_account(request: pytest.FixtureRequest, redis_url: str) -> Account:
    """What happened with one worker for the apps of both hosts."""
    return run_both_hosts(redis_url, request.param)


@pytest.fixture(params=WEBS)
def web(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Web:
    """One host after the other; no app of another test is bound."""
    monkeypatch.setattr(registry, "apps", {})
    return WEBS[request.param]


@pytest.fixture
def own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """No app and no propagator of another test."""
    monkeypatch.setattr(registry, "apps", {})
    monkeypatch.setattr(base, "_propagators", {})
