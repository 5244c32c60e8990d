"""The capture policy: what travels by default, what never does."""

from __future__ import annotations

from typing import Any

import pytest

from ctxjobs import Capture, Default
from ctxjobs.errors import ConfigError
from ctxjobs.policy import derived, public

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
        ((public, "_user"), {"tenant", "_user"}),
        ((lambda name, value: value == 2, lambda name, value: value == 3), {"_user"}),
    ],
    ids=["public", "none", "named", "any", "by value", "rule and name", "two rules"],
)
def test_rules_for_g(rule: Any, taken: set[str]) -> None:
    """Each rule takes what it says, and none takes what extensions keep secrets under."""
    policy = Capture(g=rule)
    on_g = {"tenant": 1, "_user": 2, "csrf_token": 1, "identity": 1, "flask_httpauth_user": 1}
    assert {name for name, value in on_g.items() if policy.plans.g.takes(name, value)} == taken


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


@pytest.mark.parametrize(
    "name",
    [
        "HTTP_X_TENANT", "REDIRECT_HTTP_X_TENANT", "wsgi.input", "werkzeug.request", "lower", "SSL-CLIENT",
        "REDIRECT_HTTP_AUTHORIZATION", "",
    ],
)  # fmt: skip
def test_the_environ_has_cgi_variables_only(name: str) -> None:
    """Headers, and what servers and Werkzeug keep there, cannot be named."""
    with pytest.raises(ConfigError):
        Capture(environ=(name,))


@pytest.mark.parametrize("name", ["AUTHORIZATION", "PROXY_AUTHORIZATION", "REDIRECT_AUTHORIZATION", "COOKIE"])
def test_a_secret_of_the_environ_never_travels(name: str) -> None:
    """What never travels as a header does not travel as a variable, neither by name nor by rule."""
    with pytest.raises(ConfigError, match="never travels with a job"):
        Capture(environ=(name,))
    assert not Capture(environ=lambda name, value: True).plans.environ.cgi.takes(name, "x")


PATHS = [
    "token", "g", "g.", "g.a.b", "cookies.a", "request.body", "headers.a b", "environ.HTTP_X_TENANT",
    "environ.wsgi.input", "session.\n", "", 7,
]  # fmt: skip


@pytest.mark.parametrize("argument", ["hidden", "local"])
@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_matches_nothing_is_refused(argument: str, path: Any) -> None:
    """A mistake in a path must not leave a secret unprotected."""
    with pytest.raises(ConfigError) as caught:
        Capture(**{argument: (path,)})
    assert caught.value.key == f"Capture({argument}=...)"


@pytest.mark.parametrize(
    "path", ["g._x", "session.a.b", "headers.X-Tenant", "environ.QUERY_STRING", "body", "environ.SSL_CIPHER"]
)
def test_a_path_that_can_match_is_kept(path: str) -> None:
    """Whether anything takes it is another question."""
    assert Capture(hidden=(path,), local=(path,)).hidden == (path,)


def test_a_header_has_one_spelling() -> None:
    """Paths of headers are compared as HTTP does."""
    assert Capture(hidden=("headers.x-TENANT", "headers.X_Tenant")).hidden == ("headers.X-Tenant",)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"local": ("environ.PATH_INFO",)}, "no request can be rebuilt without environ.PATH_INFO"),
        ({"local": ("propagators.login",)}, "names no value"),
        ({"on_error": {"g.x": "ignore"}}, "expected 'skip', 'fail' or Default"),
        ({"on_error": {"body": "fail"}}, "names no value"),
        ({"on_error": ("g.x",)}, "expected a dict by path, got tuple"),
        ({"on_error": {"g.x": Default(object())}}, "object cannot be encoded"),
        ({"on_error": {"headers.X": Default(7)}}, "a default in headers is a string"),
        ({"on_error": {"g.x": Default("x" * 10)}, "limit_bytes": 5}, "the default of g.x takes 12 bytes"),
        ({"limit_bytes": "5"}, "expected a number of bytes, got '5'"),
        ({"limits": {"g.x": -1}}, "expected a number of bytes, got -1"),
        ({"limits": {"body": 1}}, "names no value"),
    ],
)
def test_what_is_said_about_single_values_is_checked(given: dict[str, Any], expected: str) -> None:
    """A policy that cannot do what it says is refused where it is made."""
    with pytest.raises(ConfigError, match=expected):
        Capture(**given)


def test_extend_adds_names_to_lists() -> None:
    """``extend`` keeps what is there."""
    policy = Capture(session=("user",), hidden=("g.token",)).extend(
        session=("cart",), headers=("X-Tenant",), hidden=("g.key",), local=("g.db",), limits={"g.a": 7}
    )
    assert (policy.session, policy.headers[-1]) == (("user", "cart"), "X-Tenant")
    assert (policy.hidden, policy.local, policy.limits) == (("g.token", "g.key"), ("g.db",), {"g.a": 7})


@pytest.mark.parametrize(
    ("rule", "taken"),
    [("public", {"tenant", "_user", "other"}), ("none", {"_user"}), (("other",), {"_user", "other"})],
)
def test_extend_keeps_the_rule_for_g(rule: Any, taken: set[str]) -> None:
    """A public policy stays public; the name that is added is taken by name."""
    plan = Capture(g=rule).extend(g=("_user",)).plans.g
    assert {name for name in ("tenant", "_user", "other") if plan.takes(name, 1)} == taken
    assert "_user" in plan.fails
    assert "tenant" not in plan.fails


def test_extend_by_nothing_changes_nothing() -> None:
    """Word rules stay words."""
    assert Capture().extend() == Capture()


def test_extend_checks_what_it_adds() -> None:
    """There is no way around the checks."""
    with pytest.raises(ConfigError, match="never travels"):
        Capture().extend(headers=("Cookie",))


def test_a_policy_derives_from_the_apps() -> None:
    """A function gets the app's policy, once; a policy stands for itself; None is the app's."""
    calls: list[Capture] = []

    def more(policy: Capture) -> Capture:
        calls.append(policy)
        return policy.extend(session=("cart",))

    base, own = Capture(session=("user",), on_error={"g.x": "skip"}), Capture(g="none")
    assert derived(more, base).session == derived(more, base).session == ("user", "cart")
    assert (calls, derived(own, base), derived(None, base)) == ([base], own, base)


@pytest.mark.parametrize("choice", [lambda policy: None, 7], ids=["returns None", "no function"])
def test_what_derives_no_policy_is_refused(choice: Any) -> None:
    """A function that forgets its return must not capture by default."""
    with pytest.raises(ConfigError, match="capture="):
        derived(choice, Capture())
