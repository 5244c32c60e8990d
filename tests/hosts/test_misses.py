"""What a policy left out: a bare read says so, and code that asks first finds nothing, on both hosts."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from support.both_hosts import Web
from werkzeug.exceptions import BadRequest, BadRequestKeyError, UnsupportedMediaType

from ctxjobs import Capture, Snapshot, capture, codec, restore, run_in_context
from ctxjobs.errors import (
    NotCapturedAttributeError,
    NotCapturedError,
    NotCapturedFieldError,
    NotCapturedJSONError,
    NotCapturedKeyError,
)
from ctxjobs.hosts import ContextStack
from ctxjobs.propagation import run_job

HEADERS = {"X-Plan": "gold", "Cookie": "theme=dark", "Authorization": "Basic YTpi"}
FORM = {"method": "POST", "data": {"name": "ü"}}


class Order:
    """A type that the codec does not know."""


@pytest.fixture
def app(web: Web) -> Any:
    return web.app(CTXJOBS_SNAPSHOT_LIMIT_BYTES=3_000)


def fill(web: Web) -> None:
    web.g.tenant, web.g._login_user, web.g.identity = "acme", object(), "secret"
    web.g.order, web.g.report = Order(), "x" * 4_000
    web.module.session.update(cart=[1], plan="gold", csrf_token="secret")


@pytest.fixture
def take(web: Web, app: Any) -> Callable[..., Snapshot]:
    """Capture in a request with something of each kind, and send it through bytes."""

    def taken(policy: Capture = Capture(session=("plan",)), **request: Any) -> Snapshot:  # noqa: B008 - frozen
        with app.test_request_context("/", **{"headers": HEADERS, **request}):
            fill(web)
            return through_bytes(capture(policy))

    return taken


def looked_for(stack: ContextStack) -> set[str]:
    assert stack.misses is not None
    return stack.misses.looked_for


def through_bytes(snapshot: Snapshot) -> Snapshot:
    return Snapshot.from_primitive(codec.loads(snapshot.to_bytes(100_000)))


class Job:
    """As much of a job as its contexts need."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.id, self.snapshot = "job-7", snapshot


READS: dict[str, tuple[Callable[[Web], Any], type[NotCapturedError], str, str]] = {
    "g, not listed": (
        lambda web: web.g._login_user,
        NotCapturedAttributeError,
        "g._login_user, which did not travel with it: the capture policy does not list it, and",
        "Capture(g=(..., '_login_user'))",
    ),
    "g, denied": (
        lambda web: web.g.identity,
        NotCapturedAttributeError,
        "g.identity, which did not travel with it: it never travels with a job.",
        "pass that, or an id, as an argument.",
    ),
    "g, not encoded": (
        lambda web: web.g.order,
        NotCapturedAttributeError,
        "g.order, which did not travel with it: g.order: Order cannot be encoded.",
        "Capture(g=(..., 'order')) makes the enqueue fail instead.",
    ),
    "g, too large": (
        lambda web: web.g.report,
        NotCapturedAttributeError,
        "g.report, which did not travel with it: it takes 4002 bytes, the limit is 3000.",
        "Pass an id of it as an argument;",
    ),
    "g, popped": (lambda web: web.g.pop("order"), NotCapturedKeyError, "g.order", "cannot be encoded"),
    "session": (
        lambda web: web.module.session["cart"],
        NotCapturedKeyError,
        "session['cart'], which did not travel with it: the capture policy does not list it.",
        "Add it: Capture(session=(..., 'cart')).",
    ),
    "session, popped": (
        lambda web: web.module.session.pop("cart"),
        NotCapturedKeyError,
        "session['cart']",
        "Add it: Capture(session=(..., 'cart')).",
    ),
    "session, denied": (
        lambda web: web.module.session["csrf_token"],
        NotCapturedKeyError,
        "session['csrf_token'], which did not travel with it: it never travels with a job.",
        "as an argument.",
    ),
    "header": (
        lambda web: web.module.request.headers["x-plan"],
        NotCapturedFieldError,
        "request.headers['X-Plan'], which did not travel with it: the capture policy does not list it.",
        "Add it: Capture(headers=(*SAFE_HEADERS, 'X-Plan')).",
    ),
    "header, denied": (
        lambda web: web.module.request.headers["Authorization"],
        NotCapturedFieldError,
        "request.headers['Authorization'], which did not travel with it: it never travels with a job.",
        "as an argument.",
    ),
    "cookie": (
        lambda web: web.module.request.cookies["theme"],
        NotCapturedFieldError,
        "request.cookies['theme'], which did not travel with it: it never travels with a job.",
        "as an argument.",
    ),
}


@pytest.mark.parametrize("case", READS)
def test_a_bare_read_names_job_key_reason_and_what_to_add(web: Web, take: Any, case: str) -> None:
    """The error says which job read what, why that is not there, and what to do about it."""
    read, error, text, advice = READS[case]
    snapshot = take()
    with pytest.raises(error) as caught:
        run_job(Job(snapshot), snapshot, lambda: read(web))
    assert str(caught.value).startswith(f"Job job-7 read {text}")
    assert advice in str(caught.value)


@pytest.mark.parametrize("name", ["a", "b"])
def test_the_policy_of_tuples_is_told_too(web: Web, app: Any, name: str) -> None:
    """A public name that a tuple does not list, or ``"none"`` did not take, is one to add."""
    with app.test_request_context("/"):
        web.g.a, web.g.b = 1, 2
        snapshot = capture(Capture(g=() if name == "a" else "none"))
    with pytest.raises(
        NotCapturedAttributeError, match=rf"does not list it\. Add it: Capture\(g=\(\.\.\., '{name}"
    ):
        run_in_context(snapshot, lambda: getattr(web.g, name))


BODIES: dict[str, tuple[dict[str, Any], Callable[[Any], Any], str]] = {
    "form": (FORM, lambda request: request.form["name"], "request.form['name']"),
    "files": (
        {"method": "POST", "data": {"f": (io.BytesIO(b"x"), "f.txt")}},
        lambda request: request.files["f"],
        "request.files['f']",
    ),
    "json": ({"method": "POST", "json": {"a": 1}}, lambda request: request.json["a"], "request.json"),
    "json, forced": (
        {"method": "POST", "json": {"a": 1}},
        lambda request: request.get_json(force=True),
        "request.json",
    ),
    "type": (FORM, lambda request: request.headers["Content-Type"], "request.headers['Content-Type']"),
}


@pytest.mark.parametrize("body_bytes", [0, 2], ids=["no body", "too long"])
@pytest.mark.parametrize("case", BODIES)
def test_a_bare_read_of_a_body_that_did_not_travel(web: Web, take: Any, case: str, body_bytes: int) -> None:
    """Form, files and JSON say that the body stayed behind, and why."""
    request, read, path = BODIES[case]
    snapshot = take(Capture(body_bytes=body_bytes), **{key: _fresh(value) for key, value in request.items()})
    with pytest.raises(NotCapturedError) as caught:
        run_in_context(snapshot, lambda: read(web.module.request))
    reason = "it takes more than 2 bytes" if body_bytes else "the capture policy takes no body"
    assert str(caught.value).startswith(f"Job - read {path}, which did not travel with it: {reason}")
    assert "Add Capture(body_bytes=...)" in str(caught.value)


def _fresh(value: Any) -> Any:
    """An upload can be sent once."""
    return {"f": (io.BytesIO(b"x"), "f.txt")} if isinstance(value, dict) and "f" in value else value


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotCapturedAttributeError, (AttributeError,)),
        (NotCapturedKeyError, (KeyError,)),
        (NotCapturedFieldError, (KeyError, BadRequestKeyError)),
        (NotCapturedJSONError, (BadRequest, UnsupportedMediaType)),
    ],
)
def test_who_catches_what_flask_raises_catches_it(error: type[Exception], expected: tuple[type, ...]) -> None:
    """Each error is of the type that the framework raises for something that never was there."""
    assert all(issubclass(error, one) for one in expected)


def test_a_field_error_can_become_a_response(web: Web, take: Any) -> None:
    """What is an HTTP exception by type works as one."""
    with pytest.raises(NotCapturedFieldError) as caught:
        run_in_context(take(), lambda: web.module.request.cookies["theme"])
    assert caught.value.get_response().status_code == 400


ABSENT: dict[str, tuple[Callable[[Web], Any], str]] = {
    "hasattr": (lambda web: hasattr(web.g, "order"), "g.order"),
    "getattr": (lambda web: getattr(web.g, "order", None), "g.order"),
    "g in": (lambda web: "order" in web.g, "g.order"),
    "g get": (lambda web: web.g.get("order"), "g.order"),
    "g pop": (lambda web: web.g.pop("order", None), "g.order"),
    "g setdefault": (lambda web: web.g.setdefault("order", None), "g.order"),
    "session in": (lambda web: "cart" in web.module.session, "session['cart']"),
    "session get": (lambda web: web.module.session.get("cart"), "session['cart']"),
    "session pop": (lambda web: web.module.session.pop("cart", None), "session['cart']"),
    "session setdefault": (lambda web: web.module.session.setdefault("cart", None), "session['cart']"),
    "headers in": (lambda web: "X-Plan" in web.module.request.headers, "request.headers['X-Plan']"),
    "headers get": (lambda web: web.module.request.headers.get("x_plan"), "request.headers['X-Plan']"),
    "cookies in": (lambda web: "theme" in web.module.request.cookies, "request.cookies['theme']"),
    "cookies get": (lambda web: web.module.request.cookies.get("theme"), "request.cookies['theme']"),
    "form in": (lambda web: "name" in web.module.request.form, "request.form['name']"),
    "form get": (lambda web: web.module.request.form.get("name"), "request.form['name']"),
}


@pytest.mark.parametrize("case", ABSENT)
def test_who_asks_first_finds_nothing_and_is_noted(web: Web, take: Any, case: str) -> None:
    """Code that can do without is answered as ever, and the run knows what it looked for."""
    ask, path = ABSENT[case]
    with restore(take(**FORM)) as stack:
        assert not ask(web)
    assert looked_for(stack) == {path}


def test_json_that_may_be_missing_is_missing(web: Web, take: Any) -> None:
    """``get_json(silent=True)`` is None, and noted."""
    with restore(take(method="POST", json={"a": 1})) as stack:
        assert web.module.request.get_json(silent=True) is None
    assert "request.json" in looked_for(stack)


SETS: dict[str, Callable[[Web], Any]] = {
    "attribute": lambda web: setattr(web.g, "order", 1),
    "setdefault": lambda web: web.g.setdefault("order", 1),
    "item": lambda web: web.module.session.__setitem__("cart", 1),
    "session setdefault": lambda web: web.module.session.setdefault("cart", 1),
    "update": lambda web: web.module.session.update(cart=1),
    "or": lambda web: web.module.session.__ior__({"cart": 1}),
}


@pytest.mark.parametrize("case", SETS)
def test_assignment_clears_it(web: Web, take: Any, case: str) -> None:
    """What the job itself has set is there; once it is gone again, it is missing and no more than that."""

    def job() -> None:
        SETS[case](web)
        owner, name = (web.g, "order") if "order" in web.g else (web.module.session, "cart")
        assert owner.get(name) == 1
        owner.pop(name)
        owner.pop(name)

    with pytest.raises(KeyError) as caught:
        run_in_context(take(), job)
    assert not isinstance(caught.value, NotCapturedError)


NEVER_THERE: dict[str, Callable[[Web], Any]] = {
    "g": lambda web: web.g.never,
    "session": lambda web: web.module.session["never"],
    "headers": lambda web: web.module.request.headers["Never"],
    "form": lambda web: web.module.request.form["never"],
    "json": lambda web: web.module.request.json,
    "args": lambda web: web.module.request.args["never"],
}


@pytest.mark.parametrize("case", NEVER_THERE)
def test_what_never_was_there_is_as_in_a_view(web: Web, app: Any, take: Any, case: str) -> None:
    """Type and text of the error are the framework's own."""

    def error() -> tuple[type, str]:
        with pytest.raises(Exception) as caught:
            NEVER_THERE[case](web)
        return type(caught.value), str(caught.value)

    with app.test_request_context("/", headers=HEADERS):
        fill(web)
        expected = error()
    assert run_in_context(take(), error) == expected


def test_classes_stay_what_they_were(web: Web, app: Any, take: Any) -> None:
    """The objects of a job are instances of the app's classes, under the same names, made once."""

    def objects() -> list[Any]:
        request = web.module.request
        g, session = web.g._get_current_object(), web.module.session._get_current_object()
        return [g, session, request._get_current_object(), request.headers, request.cookies, request.form]

    with app.test_request_context("/"):
        in_view = [type(one) for one in objects()]
    first, second = run_in_context(take(**FORM), objects), run_in_context(take(**FORM), objects)
    assert all(isinstance(one, cls) for one, cls in zip(first, in_view, strict=True))
    assert [type(one).__qualname__ for one in first] == [cls.__qualname__ for cls in in_view]
    assert [type(one) for one in first] == [type(one) for one in second]


def test_nothing_but_the_attributes_is_on_g(web: Web, take: Any) -> None:
    """A look through ``g`` finds what travelled, and nothing of how misses are told."""
    assert run_in_context(take(), lambda: (list(web.g), dict(vars(web.g)))) == (
        ["tenant"],
        {"tenant": "acme"},
    )


class SlottedG:
    """A ``g`` of an app's own, with room for two names."""

    __slots__ = ("order", "tenant")


def test_a_g_with_slots(web: Web, app: Any) -> None:
    """A ``g`` class with ``__slots__`` keeps them, and tells what was left out."""
    app.app_ctx_globals_class = SlottedG
    with app.test_request_context("/"):
        web.g.tenant, web.g.order = "acme", Order()
        snapshot = capture()

    def job() -> None:
        assert web.g.tenant == "acme"
        with pytest.raises(AttributeError, match="no attribute 'other'"):
            web.g.other = 1
        assert web.g.order

    with pytest.raises(NotCapturedAttributeError, match="Order cannot be encoded"):
        run_in_context(snapshot, job)


def test_a_g_that_answers_by_itself_is_asked_first(web: Web, app: Any) -> None:
    """What the app's own ``__getattr__`` knows is no miss."""

    base: Any = app.app_ctx_globals_class

    class LazyG(base):  # type: ignore[misc]  # known at run time only
        def __getattr__(self, name: str) -> Any:
            if name == "order":
                return "made anew"
            raise AttributeError(name)

    app.app_ctx_globals_class = LazyG
    with app.test_request_context("/"):
        web.g.order = Order()
        snapshot = capture()
    assert run_in_context(snapshot, lambda: web.g.order) == "made anew"


def test_a_request_that_answers_by_itself_is_asked_first(web: Web, app: Any, take: Any) -> None:
    """A request class that has JSON for whoever sends none gives it in the job, too."""

    base: Any = app.request_class

    class Lenient(base):  # type: ignore[misc]  # known at run time only
        def on_json_loading_failed(self, e: Any) -> Any:
            return {}

    app.request_class = Lenient
    assert run_in_context(take(method="POST", json=[1]), lambda: web.module.request.json) == {}


def test_teardown_functions_are_told_too(web: Web, app: Any, take: Any) -> None:
    """Every tutorial's close_db pops a connection that the job does not have; a bare read there is told."""
    told: list[Any] = []

    def close_db(exc: BaseException | None) -> None:
        told.append(web.g.pop("order", None))
        with pytest.raises(NotCapturedAttributeError) as caught:
            web.g.order  # noqa: B018 - the read is what is tested
        told.append(caught.value.job_id)

    snapshot = take()
    app.teardown_appcontext(close_db)
    run_job(Job(snapshot), snapshot, lambda: None)
    assert told == [None, "job-7"]


def test_a_job_of_a_job_knows_it_too(web: Web, take: Any) -> None:
    """What was left out of the first job is told to the next one, with the same reason."""
    first = take(**FORM)

    def enqueue() -> Snapshot:
        web.module.session["cart"] = [2]
        return through_bytes(capture(Capture(session=("plan",))))

    second = run_in_context(first, enqueue)
    assert {kind: set(names) for kind, names in second.left_out.items()} == {
        kind: set(names) for kind, names in first.left_out.items()
    }
    assert second.skipped == first.skipped
    with pytest.raises(NotCapturedAttributeError, match="Order cannot be encoded"):
        run_in_context(second, lambda: web.g.order)


def test_a_job_of_a_job_has_what_the_first_one_set(web: Web, take: Any) -> None:
    """What a job has set itself is no miss of the jobs that it enqueues."""

    def enqueue() -> Snapshot:
        web.g.order = "17"
        return capture()

    second = run_in_context(take(), enqueue)
    assert "g.order" not in second.skipped
    assert run_in_context(second, lambda: web.g.order) == "17"


def test_few_short_printable_names_are_noted(web: Web, app: Any) -> None:
    """Whatever a client sends, a snapshot grows by a few names; those of the app come first."""
    headers = {f"X-{number}": "v" for number in range(60)}
    with app.test_request_context("/", headers=headers):
        web.g._own = 1
        web.module.session.update({"x" * 101: 1, "a\nb": 1, "\udc80": 1, "cart": 1})
        left_out = through_bytes(capture()).left_out
    assert (left_out["g"], left_out["session"]) == (("_own",), ("cart",))
    assert len(left_out["headers"]) == 48


def test_no_value_is_noted(take: Any) -> None:
    """Names travel, values do not."""
    data = take(**FORM).to_bytes(100_000)
    assert not [value for value in (b"dark", b"YTpi", b"secret", b"name") if value in data]


def test_names_that_do_not_fit_cost_no_job(web: Web, app: Any) -> None:
    """A snapshot that is too large with these names travels without them."""
    with app.test_request_context("/"):
        web.g.tenant = "x" * 2_600
        web.module.session.update({f"{number:0>40}": 1 for number in range(20)})
        snapshot = capture()
    assert (snapshot.left_out, snapshot.g) == ({}, {"tenant": "x" * 2_600})


def test_flashes_and_permanent_sessions_work(web: Web, app: Any) -> None:
    """What frameworks keep in a session, and ask for before they use it, is absent and no error."""
    with app.test_request_context("/"):
        web.module.flash("hello")
        web.module.session.permanent = True
        snapshot = capture()

    def job() -> tuple[Any, ...]:
        before = web.module.get_flashed_messages(), web.module.session.permanent
        web.module.flash("again")
        return *before, web.module.session["_flashes"]

    assert run_in_context(snapshot, job) == ([], False, [("message", "again")])


def test_a_normal_request_is_left_alone(web: Web, app: Any, take: Any) -> None:
    """Outside of jobs, the objects are of the framework's own classes."""
    take()
    with app.test_request_context("/", headers=HEADERS):
        assert type(web.g._get_current_object()) is app.app_ctx_globals_class
        assert type(web.module.request._get_current_object()) is app.request_class
