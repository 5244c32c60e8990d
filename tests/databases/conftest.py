"""Databases, and apps that use them; each test has no others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.database_apps import SHOPS, Shop, without_plain_session

from ctxjobs.propagators import base
from ctxjobs.registry import registry


@pytest.fixture(autouse=True)
def own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """No app and no session of another test."""
    monkeypatch.setattr(registry, "apps", {})
    monkeypatch.setattr(base, "_propagators", without_plain_session())


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shop.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(params=SHOPS)
def shop(request: pytest.FixtureRequest, url: str) -> Iterator[Shop]:
    """The shop on each host."""
    shop = SHOPS[request.param](url)
    yield shop
    shop.dispose()
