"""What a capture takes from a request, on both hosts: by default, by name, and never."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from support.both_hosts import Web

from ctxjobs import Capture, Snapshot, capture
from ctxjobs.errors import SnapshotTooLargeError, UnencodableValueError
from ctxjobs.registry import registry

SECRETS = {
    "Cookie": "SECRET-1",
    "Authorization": "SECRET-2",
    "Proxy-Authorization": "SECRET-3",
    "X-CSRFToken": "SECRET-4",
    "X-Api-Key": "SECRET-5",
    "X-Unheard-Of": "SECRET-6",
}


@pytest.fixture
def take(web: Web, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Snapshot]:
    """Capture inside of a request, after a function has filled its contexts."""
    monkeypatch.setattr(registry, "apps", {})
    app = web.app(CTXJOBS_SNAPSHOT_LIMIT_BYTES=2_000)

    def taken(fill: Callable[[], Any] = int, policy: Capture | None = None, **request: Any) -> Snapshot:
        with app.test_request_context("/", **request):
            fill()
            return capture(policy)

    return taken


class Price:
    """A type that the codec does not know."""


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@dataclass
class Line:
    """Not registered, so it does not travel."""

    price: int


def test_by_default_no_secret_session_key_or_body_travels(web: Web, take: Any) -> None:
    """The bytes that go to Redis hold none of the secrets of a request."""

    def fill() -> None:
        web.module.session["token"] = "SECRET-7"
        web.g.csrf_token = "SECRET-8"
        web.g._login_user = "SECRET-9"
        web.g.identity = "SECRET-10"

    snapshot = take(fill, headers=SECRETS, data=b"SECRET-11", method="POST")
    assert b"SECRET" not in snapshot.to_bytes(100_000)
    assert (snapshot.session, snapshot.request.body) == ({}, None)


def test_safe_headers_and_the_request_itself_travel(take: Any) -> None:
    """Method, URL, and the headers that the policy names, are in the snapshot."""
    environ = take(headers={"X-Request-ID": "r1"}, query_string="a=1").request.environ
    assert (environ["HTTP_X_REQUEST_ID"], environ["QUERY_STRING"], environ["REQUEST_METHOD"]) == (
        "r1",
        "a=1",
        "GET",
    )


def test_named_session_keys_travel(web: Web, take: Any) -> None:
    """Only the keys that a policy names, and only those that are there."""

    def fill() -> None:
        web.module.session.update(user=7, cart=[1])

    assert take(fill, Capture(session=("user", "gone"))).session == {"user": 7}


@pytest.mark.parametrize(("limit_bytes", "expected"), [(0, None), (4, None), (5, b"hello")])
def test_a_body_travels_if_it_is_asked_for_and_fits(take: Any, limit_bytes: int, expected: Any) -> None:
    """A body longer than the limit is skipped, with the reason."""
    policy = Capture(body_bytes=limit_bytes)
    snapshot = take(policy=policy, method="POST", data=b"hello", content_type="text/plain")
    assert snapshot.request.body == expected
    assert ("body" in snapshot.skipped) is (limit_bytes == 4)


def test_a_body_is_still_there_for_the_view(web: Web, take: Any) -> None:
    """Taking the body does not consume it."""
    seen = []

    def policy_then_read() -> None:
        capture(Capture(body_bytes=10))
        seen.append(web.module.request.get_data())

    take(policy_then_read, method="POST", data=b"hello", content_type="text/plain")
    assert seen == [b"hello"]


@pytest.mark.parametrize(
    "value", [Price(), Unprintable(), Line(1), iter([]), lambda: 0, float("nan")], ids=type
)
def test_a_rule_skips_what_does_not_encode(web: Web, take: Any, value: Any) -> None:
    """``g="public"`` takes what it can; what it cannot is skipped, with the reason under its name."""

    def fill() -> None:
        web.g.tenant, web.g.thing, web.g._own = "acme", value, 1

    snapshot = take(fill)
    assert (dict(snapshot.g), list(snapshot.skipped)) == ({"tenant": "acme"}, ["g.thing"])
    assert snapshot.skipped["g.thing"].startswith("g.thing")


def test_a_name_that_does_not_encode_fails_with_its_path(web: Web, take: Any) -> None:
    """What was asked for by name and cannot travel is an error that says where it is."""

    def fill() -> None:
        web.g.order = {"lines": [{"price": 1}] * 3 + [{"price": Price()}]}

    with pytest.raises(UnencodableValueError) as caught:
        take(fill, Capture(g=("order",)))
    assert str(caught.value).startswith("g.order.lines[3].price: Price cannot be encoded. ")


def test_a_session_key_that_does_not_encode_fails_with_its_path(web: Web, take: Any) -> None:
    """The same for the session."""

    def fill() -> None:
        web.module.session["cart"] = [Price()]

    with pytest.raises(UnencodableValueError, match=r"^session\['cart'\]\[0\]: Price cannot be encoded"):
        take(fill, Capture(session=("cart",)))


def test_a_rule_skips_what_is_too_large_by_itself(web: Web, take: Any) -> None:
    """One large value on g does not keep a job from being enqueued."""

    def fill() -> None:
        web.g.tenant, web.g.report = "acme", "x" * 3_000

    snapshot = take(fill)
    assert dict(snapshot.g) == {"tenant": "acme"}
    assert snapshot.skipped == {"g.report": "it takes 3002 bytes, the limit is 2000"}


@pytest.mark.parametrize("policy", [Capture(g=("report",)), Capture()], ids=["named", "many of them"])
def test_a_snapshot_over_the_limit_names_the_largest_value(web: Web, take: Any, policy: Capture) -> None:
    """What was named, or is too large only together, is an error that says where to look."""

    def fill() -> None:
        web.g.report, web.g.other = "x" * 1_700, "y" * 800

    with pytest.raises(SnapshotTooLargeError) as caught:
        take(fill, policy.replace(headers=("X-Long",)), headers={"X-Long": "z" * 500})
    assert caught.value.largest == "g.report"


def test_a_snapshot_shares_nothing_with_the_request(web: Web, take: Any) -> None:
    """What the view changes after the capture is not changed in the snapshot."""
    order = {"lines": [1]}

    def fill() -> None:
        web.g.order = order

    snapshot = take(fill)
    order["lines"].append(2)
    assert dict(snapshot.g) == {"order": {"lines": [1]}}
