"""The supervisor: starts the loader, asks it for children, watches them, answers signals.

Never imports user code: what an app does at import cannot break the process that has to restart it.
What to do about processes is decided by :mod:`ctxjobs_worker.lifecycle`, and carried out here; what to do
about running jobs is :mod:`ctxjobs_worker.oversight`'s.
"""

from __future__ import annotations

import heapq
import logging
import os
import secrets
import selectors
import signal
import sys
import time
from typing import Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from ctxjobs.config import safe_url
from ctxjobs.connection import connect
from ctxjobs.errors import DeploymentError, RedisTooOldError, RedisUnavailableError
from ctxjobs_worker import lifecycle
from ctxjobs_worker.channel import LoaderProcess
from ctxjobs_worker.cycle import LEASE_S, Identity
from ctxjobs_worker.endings import Ending, ending_of, is_alive
from ctxjobs_worker.lifecycle import (
    Action,
    Event,
    Exited,
    Fleet,
    Fork,
    Quit,
    StartLoader,
    StopLoader,
    Terminate,
    Wait,
    backoff_s,
)
from ctxjobs_worker.options import (
    EXIT_NO_APP,
    EXIT_NO_REDIS,
    EXIT_OK,
    Remains,
    WorkerOptions,
    child_name,
)
from ctxjobs_worker.oversight import Oversight, Watched, unfinished
from ctxjobs_worker.scheduling import Scheduling
from ctxjobs_worker.slots import Slots
from ctxjobs_worker.upkeep import TIMEOUT_S, Upkeep, check_version

_log = logging.getLogger("ctxjobs.worker")

#: How often running jobs are looked at, and how often idle children are, in seconds.
TICK_S: Final = 0.1
IDLE_TICK_S: Final = 0.5
#: How often scheduled jobs are looked for, in seconds; RQ's own interval.
SCHEDULE_S: Final = 1.0
#: How often ``--burst`` asks Redis before it gives up, with backoff between: about 8 seconds.
BURST_ATTEMPTS: Final = 5


class Supervisor:
    """One ``ctxjobs worker``.

    Args:
        options: What it was asked to do.
    """

    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        self._fleet = Fleet(options.concurrency)
        self._slots = Slots(2 * options.concurrency)
        self._loaders: dict[int, LoaderProcess] = {}
        self._children: dict[int, Watched] = {}
        self._forking: dict[int, tuple[str, tuple[Remains, ...]]] = {}
        self._remains: list[Remains] = []  # for whichever child is forked next
        self._endings: list[Ending] = []
        self._later: list[tuple[float, int, Event]] = []  # a heap; the number keeps its order total
        self._count = 0
        self._upkeep: Upkeep | None = None
        self._oversight: Oversight | None = None
        self._scheduling: Scheduling | None = None
        self._schedule_at = 0.0
        self._stop_now_at: float | None = None
        self._exit_code: int | None = None
        self._selector = selectors.DefaultSelector()
        self._signals, signals_write = os.pipe()
        os.set_blocking(self._signals, False)
        os.set_blocking(signals_write, False)
        signal.set_wakeup_fd(signals_write)
        self._selector.register(self._signals, selectors.EVENT_READ)
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, lambda signum, frame: None)  # the wakeup fd carries the news

    def run(self) -> int:
        """Work until there is nothing left to do.

        Returns:
            The exit code.
        """
        self._do(StartLoader(0))
        try:
            while self._exit_code is None:
                self._turn()
        finally:
            self._end()
        return self._exit_code

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._wait_s()):
            if key.fileobj == self._signals:
                self._hear_signals()
            elif key.data in self._loaders:
                self._hear_loader(key.data)
        while self._later and self._later[0][0] <= time.monotonic():
            self._happen(heapq.heappop(self._later)[2])
        if self._stop_now_at is not None and time.monotonic() >= self._stop_now_at:
            self._stop_now_at = None
            _log.warning("the drain timeout is over: stopping now, and giving jobs back")
            self._happen(lifecycle.StopAsked())
        if self._oversight is not None:
            self._oversight.step()
        self._look_at_orphans()
        self._see_to_endings()
        self._schedule()

    def _wait_s(self) -> float:
        busy = self._endings or (self._oversight is not None and self._oversight.is_busy)
        wait_s = TICK_S if busy else IDLE_TICK_S
        return min(wait_s, max(0.0, self._later[0][0] - time.monotonic())) if self._later else wait_s

    # --- what happens ---------------------------------------------------------------------

    def _hear_signals(self) -> None:
        for signum in os.read(self._signals, 4096):
            if signum == signal.SIGHUP:
                _log.info("loading fresh code")
                self._happen(lifecycle.ReloadAsked())
            else:
                self._stop()

    def _stop(self) -> None:
        again = self._fleet.phase == "draining"
        _log.info("stopping now" if again else "stopping: children finish their jobs; once more stops now")
        if not again and self._options.drain_timeout_s is not None:
            self._stop_now_at = time.monotonic() + self._options.drain_timeout_s
        self._happen(lifecycle.StopAsked())

    def _hear_loader(self, generation: int) -> None:
        messages = self._loaders[generation].channel.receive()
        if messages is None:
            self._lose_loader(generation)
            return
        for message in messages:
            getattr(self, "_on_" + message["event"])(generation, message)

    def _on_loaded(self, generation: int, message: dict[str, Any]) -> None:
        if self._upkeep is None and not self._begin(message):
            return
        queues = ", ".join(self._options.queues)
        _log.info("apps %s; %d children; queues %s", ", ".join(message["apps"]), self._fleet.size, queues)
        self._happen(lifecycle.Loaded(generation))

    def _on_failed(self, generation: int, message: dict[str, Any]) -> None:
        if self._fleet.current is None:
            print(message["message"], file=sys.stderr)  # noqa: T201 - the answer to the command line
            self._exit_code = EXIT_NO_APP
            return
        _log.error("the fresh code cannot be loaded, and the former one goes on: %s", message["message"])
        self._close_loader(generation)
        self._happen(lifecycle.LoadFailed(generation))

    def _on_forked(self, generation: int, message: dict[str, Any]) -> None:
        slot, pid = message["slot"], message["pid"]
        token, remains = self._forking.pop(slot)
        identity = Identity(child_name(pid, token), token, self._options.queues)
        self._slots[slot].take_over(pid)  # it may not have come to that yet, and a stop must reach it
        self._children[slot] = Watched(self._slots[slot], pid, generation, identity, remains=remains)
        self._happen(lifecycle.Forked(slot))

    def _on_exited(self, generation: int, message: dict[str, Any]) -> None:
        self._lose_child(message["slot"], message["code"])

    def _lose_child(self, slot: int, code: int) -> None:
        child = self._children.pop(slot)
        self._endings.append(Ending(child, child.slot.running, unfinished(child), code))
        child.slot.clear()
        self._see_to_endings()

    def _look_at_orphans(self) -> None:
        """Children whose loader is gone, so that nobody tells when they end."""
        for slot, child in list(self._children.items()):
            if child.generation not in self._loaders and not is_alive(child.pid):
                self._lose_child(slot, EXIT_OK)

    def _happen(self, event: Event) -> None:
        self._fleet, actions = lifecycle.decide(self._fleet, event)
        for action in actions:
            self._do(action)

    # --- children that have ended ---------------------------------------------------------

    def _see_to_endings(self) -> None:
        endings, self._endings = self._endings, []
        for ending in endings:
            try:
                remains = ending.release(self._must(self._upkeep))
            except RedisError:
                if self._fleet.phase != "draining":
                    self._endings.append(ending)  # there is nothing for another child to do meanwhile
                    continue
                _log.error("what worker %s held goes back later, by others", ending.child.identity.worker)
                remains = ()
            ending.log(is_draining=self._fleet.phase == "draining")
            slot = ending.child.slot.number
            self._remains += remains
            ran_s = time.monotonic() - ending.child.born
            self._happen(Exited(slot, ending.how(self._fleet.current), ran_s, leaves_work=bool(remains)))

    # --- what is done ---------------------------------------------------------------------

    def _do(self, action: Action) -> None:
        match action:
            case Fork(slot):
                self._fork(slot)
            case Terminate(slot, now):
                self._terminate(slot, now=now)
            case Wait(delay_s, event):
                self._count += 1
                heapq.heappush(self._later, (time.monotonic() + delay_s, self._count, event))
            case StartLoader(generation):
                self._start_loader(generation)
            case StopLoader(generation):
                self._close_loader(generation)
            case Quit():
                if self._exit_code is None:
                    self._exit_code = EXIT_OK

    def _fork(self, slot: int) -> None:
        half = slot // self._fleet.size
        loader = next((one for number, one in self._loaders.items() if number % 2 == half), None)
        if loader is None:
            return  # that it is lost is on its way to us
        remains, self._remains = tuple(self._remains), []
        token = secrets.token_hex(8)
        self._forking[slot] = token, remains
        loader.channel.send(
            do="fork",
            slot=slot,
            token=token,
            remains=[one.to_message() for one in remains],
            only_remains=slot not in self._fleet.wanted,
        )

    def _terminate(self, slot: int, *, now: bool) -> None:
        child = self._children.get(slot)
        if child is None:
            return
        child.gives_back = child.gives_back or now
        child.slot.signal(child.pid, signal.SIGKILL if now else signal.SIGTERM)

    def _start_loader(self, generation: int) -> None:
        # What is imported here is in memory once for all, but HUP is to find fresh code in every library.
        anew = generation != 0
        loader = LoaderProcess(self._slots.descriptor, self._slots.count, anew=anew)
        self._loaders[generation] = loader
        self._selector.register(loader.channel, selectors.EVENT_READ, generation)
        loader.channel.send(**self._options.to_message())

    def _close_loader(self, generation: int) -> None:
        loader = self._loaders.pop(generation, None)
        if loader is not None:
            self._selector.unregister(loader.channel)
            loader.close()
            loader.wait()

    def _lose_loader(self, generation: int) -> None:
        loader = self._loaders.pop(generation)
        self._selector.unregister(loader.channel)
        loader.close()
        _log.warning("the loader ended with %s", ending_of(loader.wait()))
        for slot in [slot for slot in self._forking if slot in self._fleet.slots_of(generation)]:
            self._remains += self._forking.pop(slot)[1]
        self._happen(lifecycle.LoaderLost(generation))

    def _retire(self, slot: int) -> None:
        self._happen(lifecycle.RetireAsked(slot))

    # --- Redis ----------------------------------------------------------------------------

    def _begin(self, message: dict[str, Any]) -> bool:
        """Begin to work with Redis, which the apps have named; False if it cannot be reached."""
        self._options = self._options.resolved(message["url"], tuple(message["queues"]))
        client = self._reach_redis()
        if client is None:
            return False
        self._upkeep = Upkeep(client, self._options.queues, LEASE_S + 60)
        self._oversight = Oversight(self._children, self._upkeep, client, self._retire)
        if self._options.with_scheduler:
            self._scheduling = Scheduling(self._options.queues, client, self._options.logging_level)
            self._scheduling.start()
        return True

    def _schedule(self) -> None:
        if self._scheduling is not None and not self._options.burst and time.monotonic() >= self._schedule_at:
            self._schedule_at = time.monotonic() + SCHEDULE_S
            self._scheduling.step()

    def _reach_redis(self) -> Redis | None:
        """A client of a Redis that answers; None once ``--burst`` or the operator gives up."""
        url = str(self._options.url)
        client = connect(url, socket_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0))
        attempts = 0
        while self._exit_code is None:
            error: DeploymentError
            try:
                check_version(safe_url(url), client.info("server")["redis_version"])
                return client
            except RedisTooOldError as exc:
                error = exc
            except RedisError as exc:
                attempts += 1
                error = RedisUnavailableError(safe_url(url), str(exc))
            is_hopeless = isinstance(error, RedisTooOldError)
            if is_hopeless or (self._options.burst and attempts >= BURST_ATTEMPTS):
                print(error, file=sys.stderr)  # noqa: T201 - the answer to the command line
                self._exit_code = EXIT_NO_REDIS
                return None
            _log.warning("%s Trying again in %.1f s.", error, backoff_s(attempts))
            self._wait_for_signal(backoff_s(attempts))
        return None

    def _wait_for_signal(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if key.fileobj == self._signals:
                self._exit_code = EXIT_OK

    def _end(self) -> None:
        if self._scheduling is not None:
            self._scheduling.stop()
        if self._oversight is not None:
            self._oversight.close()
        for generation in list(self._loaders):  # each lets its children finish, and ends
            self._close_loader(generation)
        self._selector.close()

    @staticmethod
    def _must(upkeep: Upkeep | None) -> Upkeep:
        if upkeep is None:
            raise RuntimeError("there are children before Redis was reached")
        return upkeep
