"""What the worker's scripts do in Redis: take, start, give back, report, release."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import redis
from rq import Queue, Worker
from rq.job import Job, JobStatus
from rq.registry import FinishedJobRegistry, StartedJobRegistry
from rq.suspension import suspend

from ctxjobs_worker.beats import beat
from ctxjobs_worker.cycle import Cycle, Identity, Now, Reply, Request, Script
from ctxjobs_worker.link import Link

QUEUES = ("high", "low")


class Asks:
    """A worker, as far as Redis can tell."""

    def __init__(self, client: redis.Redis, name: str = "w1", token: str = "0123456789abcdef") -> None:
        self.identity = Identity(name, token, QUEUES)
        self.link = Link(client)
        self.cycle = Cycle(self.link, self.identity, 420)
        self.worker = Worker(QUEUES, name=name, connection=client)
        if not client.exists(self.worker.key):
            self.worker.register_birth()

    def take(self, many: int, **more: Any) -> Reply:
        return self.ask(Request(take=many, **more))

    def ask(self, request: Request) -> Reply:
        self.cycle.send(request)
        return self.cycle.receive()

    def again(self) -> Reply:
        """Send the last request once more, as after a lost answer."""
        self.link.drop()
        return self.cycle.receive()

    def release(self, how: str, running: str = "") -> Any:
        request = (self.identity.worker, how, running, QUEUES, *Now.read(), 90, 15, self.identity.token)
        return Script("release").ask(self.link, request)


@pytest.fixture
def asks(redis_connection: redis.Redis) -> Iterator[Asks]:
    worker = Asks(redis_connection)
    yield worker
    worker.link.drop()


@pytest.fixture
def high(redis_connection: redis.Redis) -> Queue:
    return Queue("high", connection=redis_connection)


@pytest.fixture
def low(redis_connection: redis.Redis) -> Queue:
    return Queue("low", connection=redis_connection)


def fill(queue: Queue, *names: str, **options: Any) -> None:
    for name in names:
        queue.enqueue("time.sleep", 0, job_id=name, **options)


def ids(reply: Reply) -> list[str]:
    return [taken.job_id for taken in reply.taken]


def outcome(reply: Reply, number: int = 0, succeeded: bool = True) -> tuple[Any, ...]:
    """How a job that was taken has ended."""
    taken = reply.taken[number]
    fields = ("status", "finished" if succeeded else "failed")
    result = ("type", "1")
    job = (taken.execution_id, taken.job_id, taken.queue)
    return (*job, succeeded, fields, result, 500, 500, 500, False, 0.25, False, False)


# --- Taking -----------------------------------------------------------------------------------


def test_queues_are_emptied_in_their_order(asks: Asks, high: Queue, low: Queue) -> None:
    """The most urgent first, and within a queue the oldest."""
    fill(low, "c", "d")
    fill(high, "a", "b")
    assert ids(asks.take(3)) == ["a", "b", "c"]


def test_in_turn_one_is_taken_from_each_queue(asks: Asks, high: Queue, low: Queue) -> None:
    """Round robin, as RQ's worker of that name does."""
    fill(high, "a", "b", "c")
    fill(low, "d")
    assert ids(asks.take(4, in_turn=True)) == ["a", "d", "b", "c"]


def test_the_first_one_has_started(asks: Asks, high: Queue, redis_connection: redis.Redis) -> None:
    """What RQ shows of it is what RQ's own worker would have written."""
    fill(high, "a")
    reply = asks.take(1)
    job = Job.fetch("a", redis_connection)
    assert job.get_status() is JobStatus.STARTED
    assert job.worker_name == "w1"
    assert StartedJobRegistry(queue=high).get_job_ids(cleanup=False) == ["a"]
    [execution] = job.get_executions()
    assert execution.id == reply.taken[0].execution_id
    assert asks.worker.get_current_job_id() == "a"


def test_the_others_are_leases(asks: Asks, high: Queue, redis_connection: redis.Redis) -> None:
    """Taken off the queue, and still queued, until they start or go back."""
    fill(high, "a", "b")
    reply = asks.take(2)
    assert [taken.has_started for taken in reply.taken] == [True, False]
    assert Job.fetch("b", redis_connection).get_status() is JobStatus.QUEUED
    assert high.job_ids == []


def test_what_blmove_has_brought_comes_first(asks: Asks, high: Queue, redis_connection: redis.Redis) -> None:
    """It left the queue before the others."""
    fill(high, "a", "b")
    redis_connection.lmove("rq:queue:high", "ctxjobs:taking:high:w1", "LEFT", "RIGHT")
    assert ids(asks.take(2)) == ["a", "b"]


def test_a_job_that_may_expire_in_its_queue_comes_alone(asks: Asks, high: Queue) -> None:
    """As a lease it would go on expiring; started, it does not."""
    fill(high, "a")
    fill(high, "b", ttl=100)
    fill(high, "c")
    assert [ids(asks.take(5, runs_on=True)) for _ in range(3)] == [["a"], ["b"], ["c"]]


def test_much_data_ends_an_answer(asks: Asks, high: Queue) -> None:
    """So that one answer has a megabyte, not 128."""
    for name in "ab":
        high.enqueue("builtins.len", os.urandom(1_200_000), job_id=name)  # RQ compresses it
    assert [ids(asks.take(5, runs_on=True)) for _ in range(2)] == [["a"], ["b"]]


def test_a_deleted_job_is_passed_over(asks: Asks, high: Queue, redis_connection: redis.Redis) -> None:
    """As RQ does with an id whose hash is gone."""
    fill(high, "a", "b")
    redis_connection.delete("rq:job:a")
    assert ids(asks.take(2)) == ["b"]


def test_what_is_no_job_is_dropped_and_told(asks: Asks, high: Queue, redis_connection: redis.Redis) -> None:
    """One bad key stops nobody."""
    redis_connection.set("rq:job:a", "no hash")
    redis_connection.rpush("rq:queue:high", "a")
    fill(high, "b")
    reply = asks.take(2)
    assert (ids(reply), list(reply.dropped)) == (["b"], ["a"])


def test_a_suspended_worker_takes_nothing(asks: Asks, high: Queue, redis_connection: redis.Redis) -> None:
    """What BLMOVE had brought already goes back."""
    fill(high, "a", "b")
    redis_connection.lmove("rq:queue:high", "ctxjobs:taking:high:w1", "LEFT", "RIGHT")
    suspend(redis_connection)
    reply = asks.take(2)
    assert (reply.is_suspended, reply.taken, high.job_ids) == (True, [], ["a", "b"])


# --- Lost answers, lost names -----------------------------------------------------------------


def test_a_request_that_is_sent_again_is_answered_again(asks: Asks, high: Queue) -> None:
    """The same jobs, under the same execution ids, and no others."""
    fill(high, "a", "b", "c")
    asks.cycle.send(Request(take=2))
    asks.link.receive()  # the answer that nobody has seen
    first = asks.again()
    assert ids(first) == ["a", "b"]
    assert [taken.has_started for taken in first.taken] == [True, False]
    assert high.job_ids == ["c"]


def test_nothing_is_reported_twice(asks: Asks, high: Queue, redis_connection: redis.Redis) -> None:
    """A report whose answer got lost counts once."""
    fill(high, "a")
    reply = asks.take(1)
    asks.cycle.send(Request(done=[outcome(reply)]))
    asks.link.receive()
    assert list(asks.again().slow) == []
    assert redis_connection.hget("rq:worker:w1", "successful_job_count") == b"1"
    assert redis_connection.xlen("rq:results:a") == 1


def test_a_name_has_one_process(asks: Asks, high: Queue, redis_connection: redis.Redis) -> None:
    """Who comes with another token gets nothing; whoever came first goes on."""
    fill(high, "a")
    asks.take(0)
    other = Asks(redis_connection, token="f" * 16)
    assert other.take(1).is_usurped
    assert ids(asks.take(1)) == ["a"]
    other.link.drop()


def test_who_has_lost_a_name_gives_nothing_of_it_back(
    asks: Asks, high: Queue, redis_connection: redis.Redis
) -> None:
    """What stands under the name is another one's."""
    fill(high, "a", "b")
    asks.take(2)
    other = Asks(redis_connection, token="f" * 16)
    other.release("leave")
    assert high.job_ids == []
    other.link.drop()


def test_a_worker_that_rq_has_lost_is_told(asks: Asks, redis_connection: redis.Redis) -> None:
    """It registers again."""
    redis_connection.delete("rq:worker:w1")
    assert asks.take(1).is_unregistered


def test_who_asks_for_more_holds_nothing(asks: Asks, high: Queue) -> None:
    """What its leases hold all the same was reported to a Redis that has lost it since; it runs again."""
    fill(high, "a", "b", "c")
    asks.take(2)
    assert ids(asks.take(3)) == ["a", "b", "c"]


# --- Leases -----------------------------------------------------------------------------------


def test_leases_go_back_in_order(asks: Asks, high: Queue) -> None:
    """To the head, as if they had never been taken."""
    fill(high, "a", "b", "c", "d")
    reply = asks.take(3)
    asks.ask(Request(back=[taken.execution_id for taken in reply.taken[1:]]))
    assert high.job_ids == ["b", "c", "d"]


def test_a_lease_starts(asks: Asks, high: Queue, redis_connection: redis.Redis) -> None:
    """From then on it counts as started, as the first one did."""
    fill(high, "a", "b")
    reply = asks.take(2)
    asks.ask(Request(done=[outcome(reply)], starts=reply.taken[1].execution_id))
    assert Job.fetch("b", redis_connection).get_status() is JobStatus.STARTED
    assert StartedJobRegistry(queue=high).get_job_ids(cleanup=False) == ["b"]


def test_a_lease_that_went_back_does_not_start(asks: Asks, high: Queue) -> None:
    """Somebody else may run it by now."""
    fill(high, "a", "b")
    lease = asks.take(2).taken[1].execution_id
    asks.ask(Request(back=[lease]))
    assert list(asks.ask(Request(starts=lease)).lost) == [lease]


# --- Reports ----------------------------------------------------------------------------------


def test_a_done_job_is_where_rq_looks_for_it(asks: Asks, high: Queue, redis_connection: redis.Redis) -> None:
    """In the registry, off the started ones, its execution gone, its time running out."""
    fill(high, "a")
    asks.ask(Request(done=[outcome(asks.take(1))]))
    assert FinishedJobRegistry(queue=high).get_job_ids(cleanup=False) == ["a"]
    assert StartedJobRegistry(queue=high).get_job_ids(cleanup=False) == []
    assert redis_connection.keys("rq:execution*") == []
    assert 490 < redis_connection.ttl("rq:job:a") <= 500
    assert 490 < redis_connection.ttl("rq:results:a") <= 500
    assert redis_connection.hgetall("ctxjobs:leases:w1") == {}


def test_a_job_with_dependents_is_left_to_rq(asks: Asks, high: Queue, redis_connection: redis.Redis) -> None:
    """It stays as it was, and its report is answered as slow."""
    fill(high, "a")
    high.enqueue("time.sleep", 0, depends_on="a")
    reply = asks.take(1)
    assert list(asks.ask(Request(done=[outcome(reply)])).slow) == [reply.taken[0].execution_id]
    assert Job.fetch("a", redis_connection).get_status() is JobStatus.STARTED


def test_what_a_sweep_has_taken_is_not_reported(
    asks: Asks, high: Queue, redis_connection: redis.Redis
) -> None:
    """It was declared dead, and perhaps runs elsewhere: the late outcome changes nothing."""
    fill(high, "a")
    reply = asks.take(1)
    redis_connection.delete("rq:wip:high")
    assert list(asks.ask(Request(done=[outcome(reply)])).lost) == [reply.taken[0].execution_id]
    assert not redis_connection.exists("rq:results:a")


# --- Release ----------------------------------------------------------------------------------


def released(asks: Asks, queue: Queue, how: str) -> Sequence[str]:
    """What is in the queue after the second of three jobs was running when they were released."""
    fill(queue, "a", "b", "c")
    reply = asks.take(3)
    asks.ask(Request(done=[outcome(reply)]))
    asks.release(how, reply.taken[1].execution_id)
    return [str(name) for name in queue.job_ids]


def test_behind_a_long_job_nobody_waits(asks: Asks, high: Queue, redis_connection: redis.Redis) -> None:
    """It counts as started, and the leases behind it go back."""
    assert released(asks, high, "settle") == ["c"]
    assert Job.fetch("b", redis_connection).get_status() is JobStatus.STARTED


def test_what_was_asked_for_ahead_goes_back_with_it(asks: Asks, high: Queue) -> None:
    """It is behind the long job, too."""
    fill(high, "a", "b", "c", "d", "e")
    running = asks.take(2).taken[0].execution_id
    asks.take(2, at_once=False, runs_on=True)
    asks.release("settle", running)
    assert high.job_ids == ["b", "c", "d", "e"]


def test_a_release_that_comes_late_takes_nothing_newer(asks: Asks, high: Queue) -> None:
    """The job has ended since, and the worker has taken others."""
    fill(high, "a", "b", "c", "d")
    first = asks.take(2)
    held = [taken.execution_id for taken in first.taken[1:]]
    asks.ask(Request(done=[outcome(first)], back=held, take=2))
    asks.release("settle", first.taken[0].execution_id)
    assert high.job_ids == ["d"]


def test_of_a_dead_child_all_goes_back_but_its_job(asks: Asks, high: Queue) -> None:
    """What becomes of that one is decided by whoever looks at it next."""
    assert released(asks, high, "died") == ["c"]
    assert StartedJobRegistry(queue=high).get_job_ids(cleanup=False) == ["b"]


def test_an_operator_who_stops_a_child_gets_its_job_back(
    asks: Asks, high: Queue, redis_connection: redis.Redis
) -> None:
    """As if it had never been taken."""
    assert released(asks, high, "stop") == ["b", "c"]
    assert Job.fetch("b", redis_connection).get_status() is JobStatus.QUEUED
    assert StartedJobRegistry(queue=high).get_job_ids(cleanup=False) == []


def test_who_is_alive_does_not_expire(asks: Asks, high: Queue) -> None:
    """Between the look and the script it may have given a sign of life."""
    assert released(asks, high, "expire") == []


def test_who_gave_no_sign_of_life_holds_nothing(
    asks: Asks, high: Queue, redis_connection: redis.Redis
) -> None:
    """Its leases go back; what had started is left to RQ's registry."""
    fill(high, "a", "b", "c")
    asks.take(3)
    redis_connection.zadd("ctxjobs:workers", {"w1": 1})
    asks.release("expire")
    assert high.job_ids == ["b", "c"]
    assert StartedJobRegistry(queue=high).get_job_ids(cleanup=False) == ["a"]
    assert redis_connection.keys("ctxjobs:*") == []


def test_what_went_back_from_a_dead_process_comes_alone(asks: Asks, high: Queue) -> None:
    """If it was the one that had ended the process, it ends the next one without taking others along."""
    fill(high, "a", "b", "c")
    reply = asks.take(3)
    asks.release("died", reply.taken[0].execution_id)
    assert [ids(asks.take(3, runs_on=True)) for _ in range(2)] == [["b"], ["c"]]


# --- Signs of life ----------------------------------------------------------------------------


def test_a_beat_keeps_the_started_job(asks: Asks, high: Queue, redis_connection: redis.Redis) -> None:
    """Its place among the started ones counts on from now."""
    fill(high, "a")
    exec_ = asks.take(1).taken[0].execution_id
    redis_connection.zadd("rq:wip:high", {f"a:{exec_}": 1})
    beat(asks.link, ["w1"], 420)
    assert StartedJobRegistry(queue=high).get_expired_job_ids() == []
    assert StartedJobRegistry(queue=high).get_job_ids(cleanup=False) == ["a"]


def test_a_beat_brings_nothing_back(asks: Asks, high: Queue, redis_connection: redis.Redis) -> None:
    """Whom a sweep has taken off the started jobs is not put there again."""
    fill(high, "a")
    asks.take(1)
    redis_connection.delete("rq:wip:high")
    beat(asks.link, ["w1"], 420)
    assert not redis_connection.exists("rq:wip:high")
