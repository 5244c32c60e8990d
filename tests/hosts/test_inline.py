"""Inline mode: what is enqueued has run as a worker runs it; on both hosts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from rq import Callback, Repeat, Retry
from rq.exceptions import DuplicateJobError
from support import inline_jobs
from support.both_hosts import WEBS, Web
from support.inline_jobs import BoomError, events
from werkzeug.test import EnvironBuilder

import ctxjobs
from ctxjobs.errors import BadSignatureError, ConfigError, UnencodableValueError
from ctxjobs.registry import registry


@pytest.fixture(params=WEBS)
def web(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Web:
    monkeypatch.setattr(registry, "apps", {})
    events.clear()
    return WEBS[request.param]


@pytest.fixture
def app(web: Web) -> Iterator[Any]:
    """An app in inline mode, with no Redis to go to, and its context."""
    app = web.app("inline", CTXJOBS_INLINE=True)
    with app.app_context():
        web.g.tenant = "acme"
        yield app


def test_a_job_has_run_when_enqueue_returns(app: Any) -> None:
    """The returned job is finished, has its result, and ran in fresh contexts with the captured values."""
    job = inline_jobs.note.enqueue(7)
    assert (job.get_status(), job.return_value(), events) == ("finished", 7, [(7, "acme", False)])


def test_a_request_is_restored(web: Web) -> None:
    """A job of a view has the view's request."""
    app = web.app("inline", CTXJOBS_INLINE=True)
    with app.test_request_context("/"):
        inline_jobs.note.enqueue()
    assert events == [(0, None, True)]


def test_the_callers_g_is_untouched(app: Any, web: Web) -> None:
    """What a job does to its ``g`` stays there; what it saves in its meta can be read."""
    job = inline_jobs.change_g_and_meta.enqueue()
    assert (web.g.tenant, job.get_meta()) == ("acme", {"progress": 50})


def test_a_failed_job_does_not_raise(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    """As in production, enqueue returns; the job is failed, has its traceback, and the log shows it."""
    job = inline_jobs.fail.enqueue()
    assert job.get_status() == "failed"
    assert "BoomError: attempt 1" in job.latest_result().exc_string
    assert "BoomError: attempt 1" in caplog.text


def test_raise_raises_what_the_job_raised(web: Web) -> None:
    """With CTXJOBS_INLINE="raise", enqueue raises the job's own exception, after its callbacks."""
    app = web.app("inline", CTXJOBS_INLINE="raise")
    with app.app_context():
        web.g.tenant = "acme"
        with pytest.raises(BoomError, match="attempt 1"):
            inline_jobs.fail.options(on_failure=Callback(inline_jobs.on_failure)).enqueue()
    assert events == ["fail", ("failure", "attempt 1", "acme")]


def test_raise_is_silent_about_a_retry_that_succeeds(web: Web) -> None:
    """Only a job that has failed for good raises."""
    app = web.app("inline", CTXJOBS_INLINE="raise")
    with app.app_context():
        assert inline_jobs.fail.options(retry=Retry(max=1)).enqueue(1).return_value() == "at last"


def test_callbacks_run_in_contexts_of_their_own(app: Any) -> None:
    """The success callback gets the result, in restored contexts."""
    inline_jobs.note.options(on_success=Callback(inline_jobs.on_success)).enqueue(3)
    assert events == [(3, "acme", False), ("success", 3, "acme")]


@pytest.mark.parametrize("interval", [0, 3600])
def test_retries_run_at_once_with_the_same_envelope(app: Any, interval: int) -> None:
    """A retry does not wait for its interval, and keeps the bytes of the first envelope."""
    job = inline_jobs.fail.options(retry=Retry(max=2, interval=interval)).enqueue(2)
    assert (events, job.return_value()) == (["fail"] * 3, "at last")
    assert job.connection.hget(job.key, "ctxjobs") == job.to_dict()["ctxjobs"]


def test_a_returned_retry_runs_at_once(app: Any) -> None:
    """A job that returns Retry runs again."""
    assert inline_jobs.put_back.enqueue(2).return_value() == "at last"


def test_repeats_run_at_once(app: Any) -> None:
    """A job with Repeat runs as often as it says."""
    inline_jobs.note.options(repeat=Repeat(times=2, interval=3600)).enqueue(1)
    assert len(events) == 3


def test_scheduled_jobs_run_at_once(app: Any) -> None:
    """A job for later does not wait."""
    assert inline_jobs.note.enqueue_in(3600, 1).return_value() == 1


def test_many_jobs_run_in_order(app: Any) -> None:
    """Each of them has run."""
    jobs = inline_jobs.note.enqueue_many([(1,), (2,), (3,)])
    assert [job.return_value() for job in jobs] == [1, 2, 3]
    assert [number for number, *_ in events] == [1, 2, 3]


def test_a_dependent_runs_after_the_job_that_it_waits_for(app: Any) -> None:
    """After a parent that succeeded; in the order in which they were enqueued."""
    parent = inline_jobs.note.enqueue(1)
    assert inline_jobs.note.options(depends_on=parent).enqueue(2).return_value() == 2


def test_dependents_run_in_the_order_in_which_they_were_enqueued(app: Any) -> None:
    """RQ keeps them in a set, which has no order; a test wants one."""
    parent = inline_jobs.fail.enqueue(1)
    for number in range(6):
        inline_jobs.note.options(depends_on=parent).enqueue(number)
    app.extensions["ctxjobs"].queue().enqueue_job(parent)
    assert [event[0] for event in events if event != "fail"] == [*range(6)]


def test_a_dependent_of_a_failed_job_does_not_run(app: Any) -> None:
    """It stays deferred, as in RQ."""
    parent = inline_jobs.fail.enqueue()
    assert inline_jobs.note.options(depends_on=parent).enqueue().get_status() == "deferred"


def test_a_requeued_parent_releases_its_dependents(app: Any) -> None:
    """What waits for a job runs once that one has succeeded."""
    parent = inline_jobs.fail.enqueue(1)
    dependent = inline_jobs.note.options(depends_on=parent).enqueue(5)
    app.extensions["ctxjobs"].queue().enqueue_job(parent)
    assert (parent.return_value(), dependent.return_value()) == ("at last", 5)


def test_jobs_enqueue_jobs_up_to_the_limit(app: Any) -> None:
    """Nested jobs run inside each other; past MAX_HOPS the innermost one fails."""
    inline_jobs.nest.enqueue(100)
    assert events == list(range(17))


def test_a_coroutine_job_runs_from_a_running_loop(app: Any) -> None:
    """An async view or test can enqueue an async job."""

    async def view() -> Any:
        return inline_jobs.in_a_loop.enqueue().return_value()

    assert asyncio.run(view()) == "acme"


def test_rqs_own_api_runs_inline(app: Any) -> None:
    """A ctxjobs.Queue on a Redis that nobody listens on runs jobs all the same, by each of RQ's methods."""
    queue = ctxjobs.Queue("mail", connection=redis.Redis(port=1))
    datas = [queue.prepare_data(inline_jobs.note, (3,))]
    jobs = [queue.enqueue(inline_jobs.note, 1), *queue.enqueue_many(datas)]
    assert [(job.return_value(), job.origin) for job in jobs] == [(1, "mail"), (3, "mail")]


def test_a_job_can_be_fetched_by_its_id(app: Any) -> None:
    """A view that shows a job's state finds it."""
    job = inline_jobs.note.enqueue(4)
    found = app.extensions["ctxjobs"].queue().fetch_job(job.id)
    assert found is not None
    assert (found.return_value(), found.snapshot.g) == (4, {"tenant": "acme"})


def test_unique_jobs_are_unique(app: Any) -> None:
    """A second one with the same id is refused, as in RQ."""
    unique = inline_jobs.note.options(job_id="only", unique=True)
    unique.enqueue()
    for again in (unique.enqueue, lambda: unique.enqueue_in(60)):
        with pytest.raises(DuplicateJobError):
            again()
    assert len(events) == 1


def test_a_result_that_is_not_kept(app: Any) -> None:
    """With result_ttl=0 the job runs and is gone, as in RQ."""
    job = inline_jobs.note.options(result_ttl=0).enqueue(1)
    assert (events, job.connection.exists(job.key)) == ([(1, "acme", False)], 0)


def test_a_result_expires(app: Any) -> None:
    """As in Redis: after RQ's 500 seconds, or those that the job says."""
    jobs = [inline_jobs.note.enqueue(), inline_jobs.note.options(result_ttl=60).enqueue()]
    assert [job.connection.ttl(job.key) // 10 for job in jobs] == pytest.approx([50, 6], abs=1)


def test_apps_share_nothing(app: Any, web: Web) -> None:
    """Not even when one is bound again under its id, as by an app factory in the next test."""
    job = inline_jobs.note.enqueue()
    found = [web.app(name, CTXJOBS_INLINE=True).extensions["ctxjobs"].queue() for name in ("inline", "other")]
    assert [queue.fetch_job(job.id) for queue in found] == [None, None]


def test_a_job_that_waits_for_the_response_runs_when_it_was_sent(web: Web) -> None:
    """Neither in the view nor while the body is sent."""
    app = web.app("inline", CTXJOBS_INLINE=True)
    app.add_url_rule("/later", "later", lambda: inline_jobs.note.options(after="response").enqueue().id)
    body = app(EnvironBuilder("/later").get_environ(), lambda *args: None)
    [job_id] = body
    assert events == []
    body.close()
    assert events == [(0, None, True)]
    assert app.extensions["ctxjobs"].queue().fetch_job(job_id.decode()).return_value() == 0


def test_arguments_are_checked(app: Any) -> None:
    """What does not encode fails the enqueue, as it would in production."""
    with pytest.raises(UnencodableValueError):
        inline_jobs.note.enqueue(object())  # type: ignore[arg-type]  # what is tested


def test_the_envelope_is_verified(app: Any) -> None:
    """A job whose bytes were changed is refused when it runs."""
    job = inline_jobs.note.enqueue()
    sealed = job.connection.hget(job.key, "ctxjobs")
    # Not the last letter: of that, base64 uses four of its six bits.
    changed = sealed[:-9] + (b"A" if sealed[-9:-8] != b"A" else b"B") + sealed[-8:]
    job.connection.hset(job.key, "ctxjobs", changed)
    events.clear()
    queue = app.extensions["ctxjobs"].queue()
    queue.push_job_id(job.id)
    from ctxjobs.inline import run_all

    run_all(queue, [job])
    assert (events, type(job.refusal)) == ([], BadSignatureError)


def test_threads_do_not_take_each_others_jobs(app: Any) -> None:
    """Each thread that enqueues has its own jobs done when it goes on."""
    results: list[Any] = []

    def enqueue(number: int) -> None:
        with app.app_context():
            results.append(inline_jobs.note.enqueue(number).return_value() == number)

    threads = [threading.Thread(target=enqueue, args=(number,)) for number in range(8)]
    for step in ("start", "join"):
        for thread in threads:
            getattr(thread, step)()
    assert results == [True] * 8


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("true", True), ("0", False), ("", False), ("raise", "raise")]
)
def test_the_environment_can_switch_it_on(
    web: Web, monkeypatch: pytest.MonkeyPatch, value: str, expected: Any
) -> None:
    """CTXJOBS_INLINE is read from the environment, too."""
    monkeypatch.setenv("CTXJOBS_INLINE", value)
    web.app("inline")
    assert registry.apps["inline"].settings.inline == expected


def test_another_word_is_refused(web: Web) -> None:
    """A value that is none of the three is an error."""
    with pytest.raises(ConfigError, match="CTXJOBS_INLINE"):
        web.app("inline", CTXJOBS_INLINE="maybe")


def test_jobs_run_in_another_thread(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the caller keeps by thread is not the job's; the caller's own variables do go along."""
    seen: list[Callable[..., Any]] = []
    monkeypatch.setattr(inline_jobs.note, "func", lambda: seen.append(threading.current_thread().name))
    inline_jobs.note.enqueue()
    assert seen == ["ctxjobs-inline"]
