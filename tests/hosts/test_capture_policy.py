"""What a policy says about lists, rules and single values, on both hosts: what travels, and what is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.both_hosts import Web

from ctxjobs import SAFE_HEADERS, Capture, Default, Override, Snapshot, capture, codec, run_in_context
from ctxjobs.errors import (
    ConfigError,
    NotCapturedAttributeError,
    NotCapturedError,
    SnapshotTooLargeError,
    UnencodableValueError,
    ValueLimitError,
)
from ctxjobs.policy import LOCAL, public
from ctxjobs.propagation import prepare, run_job

HEADERS = {"X-Tenant": "acme", "X-Plan": "gold", "Authorization": "SECRET", "User-Agent": "u" * 50}
ENVIRON = {"SSL_CLIENT_S_DN": "CN=ann", "SSL_CIPHER": "aes", "REMOTE_USER": "ann", "own.object": object()}


class Order:
    """A type that the codec does not know."""


@pytest.fixture
def take(web: Web) -> Callable[..., Snapshot]:
    """Capture in a request with something of each kind, and send it through bytes."""
    app = web.app(CTXJOBS_SNAPSHOT_LIMIT_BYTES=3_000)

    def taken(policy: Any, **request: Any) -> Snapshot:
        options = {"headers": HEADERS, "environ_base": ENVIRON, **request}
        with app.test_request_context("/?q=1", **options):
            web.g.tenant, web.g.order, web.g._own = "acme", Order(), "own"
            web.module.session.update(cart=[1], plan="gold", order=Order(), csrf_token="SECRET")
            return Snapshot.from_primitive(codec.loads(capture(policy).to_bytes(100_000)))

    return taken


def environ_of(snapshot: Snapshot) -> dict[str, str]:
    assert snapshot.request is not None
    return dict(snapshot.request.environ)


def test_environ_takes_strings_by_name(take: Any) -> None:
    """A CGI variable that is named travels, and is in the environ of the job."""
    environ = environ_of(take(Capture(environ=("SSL_CLIENT_S_DN", "SSL_ABSENT"))))
    assert environ["SSL_CLIENT_S_DN"] == "CN=ann"
    assert not {"SSL_CIPHER", "SSL_ABSENT", "own.object"} & environ.keys()


def test_a_rule_for_the_environ_sees_cgi_variables_only(take: Any) -> None:
    """A rule that says yes to everything takes no header, and nothing that is the server's."""
    asked: dict[str, Any] = {}

    def rule(name: str, value: Any) -> bool:
        asked[name] = value
        return name.startswith("SSL_")

    environ = environ_of(take(Capture(environ=rule)))
    assert {key for key in environ if key.startswith("SSL_")} == {"SSL_CLIENT_S_DN", "SSL_CIPHER"}
    assert all(name.isupper() and not name.startswith("HTTP_") for name in asked)


def test_a_rule_for_headers_takes_what_it_says(take: Any) -> None:
    """It sees names as HTTP writes them, and is not asked about what never travels."""
    asked = []

    def rule(name: str, value: Any) -> bool:
        asked.append(name)
        return name in ("X-Tenant", "Authorization")

    snapshot = take(Capture(headers=rule))
    assert environ_of(snapshot)["HTTP_X_TENANT"] == "acme"
    assert "Authorization" not in asked
    assert set(snapshot.left_out["headers"]) >= {"X_PLAN", "AUTHORIZATION"}


def test_a_rule_stands_beside_names(take: Any) -> None:
    """A list may hold both."""
    environ = environ_of(take(Capture(headers=(*SAFE_HEADERS, lambda name, value: name == "X-Plan"))))
    assert {"HTTP_X_PLAN", "HTTP_USER_AGENT"} <= environ.keys()
    assert "HTTP_X_TENANT" not in environ


def test_a_rule_for_the_session_skips_what_does_not_encode(take: Any) -> None:
    """As for g: what a rule meets and cannot take is left out, with the reason; secrets it never sees."""
    snapshot = take(Capture(session=lambda name, value: True))
    assert snapshot.session == {"cart": [1], "plan": "gold"}
    assert snapshot.skipped["session.order"].startswith("session['order']: Order cannot be encoded")
    assert snapshot.left_out["session"] == ("csrf_token",)


def test_rule_and_name_for_g(take: Any) -> None:
    """The name travels beside what the rule takes, and only the name is an error."""
    assert set(take(Capture(g=(public, "_own"))).g) == {"tenant", "_own"}
    with pytest.raises(UnencodableValueError):
        take(Capture(g=(public, "order")))


LOCALS: dict[str, tuple[str, Callable[[Web], Any]]] = {
    "g": ("g.tenant", lambda web: web.g.tenant),
    "session": ("session.cart", lambda web: web.module.session["cart"]),
    "headers": ("headers.x-tenant", lambda web: web.module.request.headers["X-Tenant"]),
    "body": ("body", lambda web: web.module.request.form["name"]),
}


@pytest.mark.parametrize("kind", LOCALS)
def test_local_wins_over_every_list(web: Web, take: Any, kind: str) -> None:
    """What is local does not travel, though it is listed, and a job that reads it is told why."""
    path, read = LOCALS[kind]
    policy = Capture(g=("tenant",), session=("cart",), headers=("X-Tenant",), body_bytes=100, local=(path,))
    snapshot = take(policy, method="POST", data={"name": "acme"})
    with pytest.raises(NotCapturedError, match="the capture policy says that it is local") as caught:
        run_in_context(snapshot, lambda: read(web))
    assert "Take it out of Capture(local=...)" in str(caught.value)
    assert list(snapshot.skipped.values()) == [LOCAL]


def test_local_wins_over_every_rule(web: Web, take: Any) -> None:
    """Rules are not asked."""
    asked: list[str] = []

    def rule(name: str, value: Any) -> bool:
        asked.append(name)
        return False

    local = ("g.tenant", "session.cart", "headers.X-Tenant", "environ.SSL_CIPHER")
    take(Capture(g=rule, session=rule, headers=rule, environ=rule, local=local))
    assert not {"tenant", "cart", "X-Tenant", "SSL_CIPHER"} & set(asked)
    assert {"_own", "plan", "X-Plan", "SSL_CLIENT_S_DN"} <= set(asked)


def test_local_keeps_what_travels_with_every_request(take: Any) -> None:
    """The user that a front-end server vouches for, and the query, can be kept in the process."""
    environ = environ_of(take(Capture(local=("environ.REMOTE_USER", "environ.QUERY_STRING"))))
    assert not {"REMOTE_USER", "QUERY_STRING"} & environ.keys()


def test_what_is_local_is_local_in_jobs_of_jobs(web: Web, take: Any) -> None:
    """The second job is told the same reason."""
    first = take(Capture(local=("g.tenant", "headers.X-Tenant")))
    second = run_in_context(first, lambda: capture(Capture()))
    with pytest.raises(NotCapturedAttributeError, match="it is local"):
        run_in_context(second, lambda: web.g.tenant)
    assert second.skipped["headers.X-Tenant"] == LOCAL


def test_on_error_skips_a_name(take: Any) -> None:
    """What is named may be left out all the same."""
    snapshot = take(Capture(g=("tenant", "order"), on_error={"g.order": "skip"}))
    assert (dict(snapshot.g), list(snapshot.skipped)) == ({"tenant": "acme"}, ["g.order"])


def test_on_error_fails_what_a_rule_takes(take: Any) -> None:
    """A value that the job cannot do without is an error, though only a rule takes it."""
    with pytest.raises(UnencodableValueError, match=r"g\.order: Order cannot"):
        take(Capture(on_error={"g.order": "fail"}))


def test_on_error_sends_a_default(web: Web, take: Any) -> None:
    """The job gets it as if the value had been that; each run gets a copy of its own."""
    policy = Capture(
        g=("order",),
        session=("order",),
        on_error={"g.order": Default({"lines": []}), "session.order": Default((1, 2))},
    )
    snapshot = take(policy)

    def job() -> Any:
        web.g.order["lines"].append(7)
        return web.g.order, web.module.session["order"]

    assert [run_in_context(snapshot, job) for _ in range(2)] == [({"lines": [7]}, (1, 2))] * 2
    assert not snapshot.skipped


def test_a_value_over_its_limit_is_skipped_or_fails(take: Any) -> None:
    """A limit is one of the encoded value; what it does follows the same rules."""
    snapshot = take(Capture(limits={"g.tenant": 5}))
    assert snapshot.skipped["g.tenant"] == "it takes 6 bytes, the limit is 5"
    assert take(Capture(limits={"g.tenant": 6})).g["tenant"] == "acme"
    with pytest.raises(ValueLimitError, match=r"g\.tenant takes 6 bytes; the limit is 5"):
        take(Capture(g=("tenant",), limits={"g.tenant": 5}))


def test_a_limit_for_every_value(take: Any) -> None:
    """A value with a limit of its own has that one; safe headers are the client's, and are skipped."""
    policy = Capture(limit_bytes=20, limits={"g.tenant": 3}, session=("plan",), environ=("SSL_CIPHER",))
    snapshot = take(policy)
    assert set(snapshot.skipped) >= {"g.tenant", "headers.User-Agent"}
    assert (snapshot.session, environ_of(snapshot)["SSL_CIPHER"]) == ({"plan": "gold"}, "aes")
    assert environ_of(snapshot)["PATH_INFO"] == "/"


def test_a_header_over_its_limit(take: Any) -> None:
    """One that is named fails, or is replaced."""
    named = Capture(headers=("X-Tenant",), limits={"headers.X-Tenant": 5})
    with pytest.raises(ValueLimitError, match=r"^headers\.X-Tenant takes 6 bytes"):
        take(named)
    replaced = named.replace(on_error={"headers.x-tenant": Default("?")})
    assert environ_of(take(replaced))["HTTP_X_TENANT"] == "?"


def test_the_limit_of_all_together_asks_the_policy_too(web: Web) -> None:
    """A value that does not fit by itself is replaced where the policy says so, and else an error."""
    app = web.app(CTXJOBS_SNAPSHOT_LIMIT_BYTES=2_000)
    with app.test_request_context("/"):
        web.g.report, web.module.session["cart"] = "x" * 3_000, "y" * 3_000
        policy = Capture(
            g=("report",), session=("cart",), on_error={"g.report": Default(None), "session.cart": "skip"}
        )
        snapshot = capture(policy)
        with pytest.raises(SnapshotTooLargeError):
            capture(policy.replace(on_error={"g.report": "skip"}))
    assert (snapshot.g, snapshot.session) == ({"report": None}, {})
    assert snapshot.skipped == {"session.cart": "it takes 3002 bytes, the limit is 2000"}


def test_hidden_travels_and_is_not_shown(web: Web, take: Any) -> None:
    """The job has the value; what may be shown of the snapshot does not."""
    policy = Capture(
        session=("plan",), headers=("X-Tenant",), hidden=("g.tenant", "headers.X-Tenant", "session.plan")
    )
    snapshot = take(policy)
    assert run_in_context(snapshot, lambda: web.g.tenant) == "acme"
    shown = snapshot.shown()
    assert (shown["g"]["tenant"], shown["session"]["plan"]) == ("(hidden)", "(hidden)")
    assert shown["request"]["headers"]["X-Tenant"] == "(hidden)"


def test_an_error_about_a_hidden_value_has_no_part_of_it(web: Web) -> None:
    """The path of a culprit goes through the keys of dicts, which are a part of the value."""
    app = web.app()
    policy = Capture(hidden=("g.token",))
    with app.app_context():
        web.g.token = {"SECRET": Order()}
        assert "SECRET" not in repr(capture(policy).to_primitive())
        with pytest.raises(UnencodableValueError, match=r"^g\.token: Order cannot"):
            capture(policy.replace(g=("token",)))


class Job:
    """As much of a job as its contexts need."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.id, self.snapshot = "job-7", snapshot


def test_what_is_hidden_in_a_job_is_hidden_in_its_jobs(take: Any) -> None:
    """A job that passes a hidden value on does not uncover it, whatever the policy of the next one says."""
    first = take(Capture(hidden=("g.tenant",)))
    second = run_job(Job(first), first, lambda: capture(Capture(hidden=("session.plan",))))
    assert set(second.hidden) == {"g.tenant", "session.plan"}
    assert second.shown()["g"]["tenant"] == "(hidden)"


def test_no_repr_on_the_way_has_a_value(web: Web) -> None:
    """What is prepared for an envelope holds the bytes of all values, and shows none."""
    app = web.app()
    with app.test_request_context("/", headers={"User-Agent": "SECRET"}):
        web.g.token = "SECRET"
        assert "SECRET" not in repr(prepare(None, None, "a.job"))


def test_a_policy_of_a_job_derives_from_the_apps(web: Web) -> None:
    """A function takes the policy of the app whose context is active."""
    app = web.app(CTXJOBS_CAPTURE=Capture(session=("plan",), hidden=("g.token",)))
    with app.test_request_context("/"):
        web.module.session.update(plan="gold", cart=[1])
        snapshot = capture(lambda policy: policy.extend(session=("cart",)))
        with pytest.raises(ConfigError, match="expected a Capture or a function, got str"):
            capture("cart")  # type: ignore[arg-type]  # what is tested
    assert (snapshot.session, snapshot.hidden) == ({"plan": "gold", "cart": [1]}, ("g.token",))


def test_a_body_keeps_its_local_content_type(web: Web, take: Any) -> None:
    """The header that comes with a body can be local like any other."""
    policy = Capture(body_bytes=100, local=("headers.Content-Type",))
    snapshot = take(policy, method="POST", data={"name": "acme"})
    assert "CONTENT_TYPE" not in environ_of(snapshot)
    assert run_in_context(snapshot, lambda: web.module.request.get_data()) == b"name=acme"


def test_an_override_cannot_send_what_is_local(web: Web) -> None:
    """Local wins over what the caller says, too, and says so at the call."""
    app = web.app(CTXJOBS_CAPTURE=Capture(local=("g.token",)))
    with app.app_context(), pytest.raises(ConfigError, match=r"g\.token is local, and never sent"):
        capture(context=Override(g={"token": "t"}))


def test_an_override_is_not_skipped_for_its_size(web: Web) -> None:
    """What the caller says fails if it does not fit, though a rule would skip it."""
    app = web.app(CTXJOBS_SNAPSHOT_LIMIT_BYTES=2_000)
    with app.app_context(), pytest.raises(SnapshotTooLargeError):
        capture(context=Override(g={"report": "x" * 3_000}))


def test_an_override_of_a_hidden_path_is_hidden(web: Web) -> None:
    """The path counts, and not where the value comes from."""
    app = web.app(CTXJOBS_CAPTURE=Capture(hidden=("g.token",)))
    with app.app_context():
        shown = capture(context=Override(g={"token": "SECRET"})).shown()
    assert (shown["g"], shown["overrides"]) == ({"token": "(hidden)"}, ["g.token"])


def test_the_request_id_of_the_lineage_follows_its_header(take: Any) -> None:
    """Lineage has a copy of the header, which is neither sent nor shown where the header is not."""
    sent = {"headers": {"X-Request-ID": "r-1"}}
    hidden, local = Capture(hidden=("headers.X-Request-ID",)), Capture(local=("headers.X-Request-ID",))
    assert take(Capture(), **sent).shown()["lineage"]["request"] == "r-1"
    assert take(hidden, **sent).lineage.request == "r-1"
    assert "r-1" not in repr(take(hidden, **sent).shown())
    assert "r-1" not in repr(take(local, **sent).to_primitive())
