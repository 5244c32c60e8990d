"""Settings: the app's configuration first, then the environment, then the default."""

from __future__ import annotations

from typing import Any

import pytest

from ctxjobs.config import DEFAULT_INDEX, Settings, redis_url_from_environment, safe_url
from ctxjobs.errors import ConfigError


@pytest.mark.parametrize(
    ("config", "environ", "expected"),
    [
        ({}, {}, "default"),
        ({}, {"CTXJOBS_QUEUE": "e"}, "e"),
        ({"CTXJOBS_QUEUE": "c"}, {"CTXJOBS_QUEUE": "e"}, "c"),
        ({"CTXJOBS_QUEUE": None}, {"CTXJOBS_QUEUE": "e"}, "e"),
    ],
    ids=["default", "environment", "config", "None is silence"],
)
def test_where_a_setting_comes_from(config: dict[str, Any], environ: dict[str, str], expected: str) -> None:
    """The app's configuration wins over the environment, which wins over the default."""
    assert Settings.from_mapping(config, environ).queue == expected


def test_the_environment_is_converted() -> None:
    """Numbers in the environment are text, and become numbers."""
    environ = {"CTXJOBS_SNAPSHOT_LIMIT_BYTES": "10", "CTXJOBS_MAX_AGE_S": "1.5", "CTXJOBS_MAX_HOPS": "3"}
    settings = Settings.from_mapping({}, environ)
    assert (settings.snapshot_limit_bytes, settings.max_age_s, settings.max_hops) == (10, 1.5, 3)


@pytest.mark.parametrize(
    ("key", "value"),
    [("SNAPSHOT_LIMIT_BYTES", "much"), ("MAX_AGE_S", [1]), ("MAX_HOPS", "1.5"), ("SECRET_KEY", 7)],
)
def test_a_setting_of_the_wrong_type_names_its_key(key: str, value: Any) -> None:
    """The error names the key, and the type that was found, but not the value: it may be a secret."""
    with pytest.raises(ConfigError, match=rf"^CTXJOBS_{key}: {type(value).__name__} cannot be used here"):
        Settings.from_mapping({f"CTXJOBS_{key}": value}, {})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:hush@localhost/1", "redis://:***@localhost/1"),
        ("rediss://clerk:hush@db.example:6380", "rediss://clerk:***@db.example:6380"),
        ("redis://clerk:h%40us@h@db/0", "redis://clerk:***@db/0"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("redis://localhost/0?password=hush&db=1", "redis://localhost/0?password=***&db=1"),
        ("redis://clerk@localhost/0", "redis://clerk@localhost/0"),
    ],
)
def test_safe_url_hides_the_password(url: str, expected: str) -> None:
    """Wherever a Redis URL may hold the password, it is hidden, and all else is kept."""
    assert safe_url(url) == expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({}, None), ({"CTXJOBS_REDIS_URL": ""}, None), ({"CTXJOBS_REDIS_URL": "u"}, "u")],
)
def test_redis_url_of_the_environment(environ: dict[str, str], expected: str | None) -> None:
    """An empty variable names no Redis."""
    assert redis_url_from_environment(environ) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, DEFAULT_INDEX),
        ({}, DEFAULT_INDEX),
        (False, {}),
        ({"tenant": "session.org"}, {**DEFAULT_INDEX, "tenant": "session.org"}),
        ({"user": None, "tenant": None}, {"request": "lineage.request", "root": "lineage.root"}),
    ],
    ids=repr,
)
def test_where_the_values_of_the_index_are(value: Any, expected: Any) -> None:
    """What is said goes over the default; None leaves a kind out, False all of them."""
    assert Settings.from_mapping({"CTXJOBS_INDEX": value}, {"CTXJOBS_INDEX": "ignored"}).index == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, r"bool cannot be used here \(expected a dict such as"),
        ("g.tenant", r"str cannot be used here \(expected a dict such as"),
        ({"order": "g.order"}, "'order' is no kind that jobs are found by: request, root, tenant, user"),
        ({"tenant": "tenant.id"}, "tenant: expected 'g.NAME', 'session.NAME' or the name of a propagator"),
        ({"tenant": "lineage.hop"}, "tenant: expected 'g.NAME'"),
        ({"tenant": 7, "user": "g."}, "user: expected"),
    ],
    ids=repr,
)
def test_an_index_that_cannot_be_read(value: Any, expected: str) -> None:
    """The error says what is wrong with it."""
    with pytest.raises(ConfigError, match=expected):
        Settings.from_mapping({"CTXJOBS_INDEX": value}, {})
