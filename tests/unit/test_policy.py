"""The capture policy: what travels by default, what never does."""

from __future__ import annotations

from typing import Any

import pytest

from ctxjobs import Capture
from ctxjobs.errors import ConfigError

SECRET_HEADERS = [
    "Cookie",
    "Authorization",
    "authorization",
    "Proxy-Authorization",
    "Set-Cookie",
    "X-CSRF-Token",
    "X-CSRFToken",
    "X-XSRF-TOKEN",
    "CSRF-Token",
    "X-Api-Key",
    "X-API-KEY-ID",
    "Api-Key",
    "apikey",
    "X-Auth-Token",
    "Proxy_Authorization",
    "X_Api_Key",
]


@pytest.mark.parametrize("name", SECRET_HEADERS)
def test_a_header_that_carries_a_secret_is_refused_by_name(name: str) -> None:
    """A policy cannot name a header that authenticates, however it is spelt."""
    with pytest.raises(ConfigError, match="never travels with a job"):
        Capture(headers=("Accept", name))


@pytest.mark.parametrize("name", ["Accept", "X-Request-ID", "Cookie-Consent", "X-Authority"])
def test_any_other_header_can_be_named(name: str) -> None:
    """A header whose name only resembles a secret one travels."""
    assert Capture(headers=(name,)).headers == (name,)


def test_the_defaults_are_safe() -> None:
    """By default no session key and no body travel, and no header that authenticates."""
    policy = Capture()
    assert (policy.session, policy.body_bytes) == ((), 0)
    assert Capture(headers=policy.headers) == policy


@pytest.mark.parametrize(
    ("rule", "taken"),
    [
        ("public", {"tenant"}),
        ("none", set()),
        (("tenant", "_user"), {"tenant", "_user"}),
        (lambda name, value: True, {"tenant", "_user"}),
        (lambda name, value: value == 1, {"tenant"}),
    ],
    ids=["public", "none", "named", "any", "by value"],
)
def test_rules_for_g(rule: Any, taken: set[str]) -> None:
    """Each rule takes what it says, and none takes what extensions keep secrets under."""
    policy = Capture(g=rule)
    on_g = {"tenant": 1, "_user": 2, "csrf_token": 1, "identity": 1, "flask_httpauth_user": 1}
    assert {name for name, value in on_g.items() if policy.takes_g(name, value)} == taken


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"session": ("csrf_token",)}, "'csrf_token' never travels"),
        ({"g": ("csrf_token",)}, "'csrf_token' never travels"),
        ({"headers": "Accept"}, "expected a tuple of names, got 'Accept'"),
        ({"session": "user"}, "expected a tuple of names, got 'user'"),
        ({"g": "tenant"}, "expected a tuple of names, got 'tenant'"),
        ({"headers": (1,)}, r"expected a tuple of names, got \(1,\)"),
        ({"session": None}, "expected a tuple of names, got None"),
        ({"g": None}, "expected a tuple of names, got None"),
        ({"g": 7}, "expected a tuple of names, got 7"),
    ],
)
def test_a_policy_of_the_wrong_shape_is_refused(given: dict[str, Any], expected: str) -> None:
    """The error names the argument, and what was expected."""
    with pytest.raises(ConfigError, match=expected) as caught:
        Capture(**given)
    assert caught.value.key == f"Capture({next(iter(given))}=...)"


def test_lists_are_kept_as_tuples() -> None:
    """A policy is frozen: a list given to it can change later without changing the policy."""
    names = ["user"]
    policy = Capture(session=names)  # type: ignore[arg-type]  # a list is what the test gives
    names.append("more")
    assert policy.session == ("user",)


def test_replace_changes_what_it_names_alone() -> None:
    """``replace`` keeps the rest, and checks what it changes."""
    policy = Capture(session=("user",)).replace(body_bytes=10)
    assert (policy.session, policy.body_bytes) == (("user",), 10)


@pytest.mark.parametrize("change", [{"headers": ("Cookie",)}, {"cookies": True}])
def test_replace_refuses_what_the_constructor_refuses(change: dict[str, Any]) -> None:
    """``replace`` opens no way around the checks, and knows its own arguments only."""
    with pytest.raises(ConfigError):
        Capture().replace(**change)
