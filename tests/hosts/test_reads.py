"""What an audited run notes of its reads, on both hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.both_hosts import Web

from ctxjobs import SAFE_HEADERS, Capture, Snapshot, capture
from ctxjobs.hosts.reads import Reads
from ctxjobs.propagation import run_job
from ctxjobs.registry import registry

HEADERS = {"X-Tenant": "acme", "X-Plan": "gold", "Cookie": "theme=dark"}
POLICY = Capture(session=("cart",), headers=(*SAFE_HEADERS, "X-Tenant"), body_bytes=100, local=("g.secret",))


class Order:
    """A type that the codec does not know."""


@pytest.fixture
def reads_of(web: Web) -> Callable[..., Reads]:
    """Run a function as the job of a request with something of each kind; return what was noted."""
    app = web.app()

    def run(job: Callable[[], Any], policy: Capture = POLICY) -> Reads:
        with app.test_request_context("/", headers=HEADERS, method="POST", data={"name": "ann"}):
            web.g.tenant, web.g.order, web.g._own, web.g.secret = "acme", Order(), 1, "s"
            web.module.session.update(cart=[1], plan="gold")
            snapshot = capture(policy)
        reads = Reads(snapshot, "job-7")
        run_job(Job(snapshot), snapshot, job, reads)
        return reads

    return run


class Job:
    """As much of a job as its contexts need."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.id, self.snapshot = "job-7", snapshot


READS: dict[str, tuple[Callable[[Web], Any], set[str]]] = {
    "nothing": (lambda web: None, set()),
    "what is no key": (lambda web: (web.module.request.path, web.module.request.args), set()),
    "g": (lambda web: web.g.tenant, {"g.tenant"}),
    "g, hasattr": (lambda web: hasattr(web.g, "tenant"), {"g.tenant"}),
    "g, get": (lambda web: web.g.get("tenant"), {"g.tenant"}),
    "g, pop": (lambda web: web.g.pop("tenant"), {"g.tenant"}),
    "g, in": (lambda web: "tenant" in web.g, {"g.tenant"}),
    "g, setdefault": (lambda web: web.g.setdefault("tenant", 1), {"g.tenant"}),
    "g, loop": (lambda web: list(web.g), {"g.tenant"}),
    "session": (lambda web: web.module.session["cart"], {"session.cart"}),
    "session, get": (lambda web: web.module.session.get("cart"), {"session.cart"}),
    "session, pop": (lambda web: web.module.session.pop("cart"), {"session.cart"}),
    "session, in": (lambda web: "cart" in web.module.session, {"session.cart"}),
    "session, loop": (lambda web: list(web.module.session), {"session.cart"}),
    "session, keys": (lambda web: list(web.module.session.keys()), {"session.cart"}),
    "session, values": (lambda web: list(web.module.session.values()), {"session.cart"}),
    "session, items": (lambda web: dict(web.module.session.items()), {"session.cart"}),
    "headers": (lambda web: web.module.request.headers["x-tenant"], {"headers.X-Tenant"}),
    "headers, get": (lambda web: web.module.request.headers.get("X-Tenant"), {"headers.X-Tenant"}),
    "headers, in": (lambda web: "X-Tenant" in web.module.request.headers, {"headers.X-Tenant"}),
    "form": (lambda web: web.module.request.form["name"], {"body"}),
    "values": (lambda web: web.module.request.values["name"], {"body"}),
    "data": (lambda web: web.module.request.get_data(), {"body"}),
    "stream": (lambda web: web.module.request.stream.read(), {"body"}),
    "json": (lambda web: web.module.request.get_json(force=True, silent=True), {"body"}),
}


@pytest.mark.parametrize("case", READS)
def test_a_read_of_what_is_there_is_noted(web: Web, reads_of: Any, case: str) -> None:
    """Each way to read, and to ask, counts; what is no key of the policy's does not."""
    read, expected = READS[case]
    reads = reads_of(lambda: read(web))
    assert (reads.read, reads.missed, reads.withheld) == (expected, set(), set())


def test_the_size_of_a_body_that_was_read_is_noted(web: Web, reads_of: Any) -> None:
    """So that a policy can say how much to take."""
    assert reads_of(lambda: web.module.request.get_data()).body_bytes == len(b"name=ann")
    assert reads_of(lambda: None).body_bytes == 0


def test_a_loop_over_headers_reads_them_all(web: Web, reads_of: Any) -> None:
    """Who looks through them may look for any of them."""
    reads = reads_of(lambda: dict(web.module.request.headers))
    assert {path for path in reads.captured if path.startswith("headers.")} <= reads.read


MISSES: dict[str, tuple[Callable[[Web], Any], set[str], set[str]]] = {
    "session": (lambda web: web.module.session.get("plan"), {"session.plan"}, set()),
    "header": (lambda web: web.module.request.headers.get("X-Plan"), {"headers.X-Plan"}, set()),
    "g": (lambda web: hasattr(web.g, "_own"), {"g._own"}, set()),
    "g, no encoding": (lambda web: web.g.pop("order", None), set(), {"g.order"}),
    "g, local": (lambda web: web.g.get("secret"), set(), {"g.secret"}),
    "cookie": (lambda web: web.module.request.cookies.get("theme"), set(), {"cookies"}),
    "body": (lambda web: web.module.request.form.get("name"), {"body"}, set()),
}


@pytest.mark.parametrize("case", MISSES)
def test_a_miss_is_noted_with_whether_a_list_could_help(web: Web, reads_of: Any, case: str) -> None:
    """What could have been listed is missed; what could not have travelled was withheld."""
    look, missed, withheld = MISSES[case]
    reads = reads_of(lambda: look(web), POLICY.replace(body_bytes=0))
    assert (reads.read, reads.missed, reads.withheld) == (set(), missed, withheld)


OWN: dict[str, Callable[[Web], Any]] = {
    "g": lambda web: (setattr(web.g, "tenant", 1), web.g.tenant),
    "session": lambda web: (web.module.session.update(cart=1), web.module.session["cart"]),
}


@pytest.mark.parametrize("case", OWN)
def test_what_the_job_sets_itself_is_no_read(web: Web, reads_of: Any, case: str) -> None:
    """Only values that came with the job count."""
    assert reads_of(lambda: OWN[case](web)).read == set()


def test_an_update_of_the_session_leaves_other_keys_to_be_read(web: Web, reads_of: Any) -> None:
    """What is written to beside a key does not make it the job's own."""

    def job() -> None:
        web.module.session.update(other=1)
        assert web.module.session["cart"] == [1]

    assert reads_of(job).read == {"session.cart"}


def test_what_a_job_hands_on_it_needs(web: Web, reads_of: Any) -> None:
    """A job that enqueues a job reads what that one takes."""
    reads = reads_of(lambda: capture(Capture(g="public", session=())))
    assert {path for path in reads.read if path[:2] == "g."} == {"g.tenant"}
    assert "session.cart" not in reads.read


def test_what_was_captured_is_known(reads_of: Any) -> None:
    """So that what is never read can be told."""
    captured = reads_of(lambda: None).captured
    assert {"g.tenant", "session.cart", "headers.X-Tenant", "body"} <= captured
    assert not {"g.order", "g.secret", "session.plan", "headers.X-Plan"} & captured


def test_teardown_functions_count(web: Web, reads_of: Any) -> None:
    """They are a part of the job."""

    def look(exc: BaseException | None) -> None:
        web.g.get("tenant")

    next(iter(registry.apps.values())).host.app.teardown_appcontext(look)
    assert reads_of(lambda: None).read == {"g.tenant"}


def test_what_is_loaded_for_the_job_is_still_to_be_read(web: Web, reads_of: Any) -> None:
    """A reference is put in place by the host, not by the job; the job's read of it counts."""

    def job() -> None:
        host = next(iter(registry.apps.values())).host
        active = host.active()
        assert active is not None
        host.write_g(active, "tenant", "loaded")
        assert web.g.tenant == "loaded"

    assert reads_of(job).read == {"g.tenant"}
