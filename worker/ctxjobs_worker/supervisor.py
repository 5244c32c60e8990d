"""The supervisor: starts the loader, asks it for children, watches them, answers signals.

Never imports user code: what an app does at import cannot break the process that has to restart it.
Decisions are :mod:`ctxjobs_worker.lifecycle`'s; this file carries them out.
"""

from __future__ import annotations

import heapq
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from ctxjobs.config import safe_url
from ctxjobs.errors import RedisUnavailableError
from ctxjobs_worker import lifecycle
from ctxjobs_worker.channel import Channel
from ctxjobs_worker.lifecycle import Action, Event, Fleet, Fork, Quit, StartLoader, Terminate, backoff_s
from ctxjobs_worker.options import EXIT_NO_APP, EXIT_NO_REDIS, EXIT_OK, EXIT_RECYCLED, WorkerOptions
from ctxjobs_worker.scheduling import Scheduling

_log = logging.getLogger("ctxjobs.worker")

#: How often scheduled jobs are looked for; RQ's own interval.
TICK_S: Final = 1.0
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
        self._born: dict[int, float] = {}  # slot -> monotonic time
        self._later: list[tuple[float, int, Action]] = []  # a heap; the number keeps its order total
        self._count = 0
        self._scheduling: Scheduling | None = None
        self._exit_code: int | None = None
        self._selector = selectors.DefaultSelector()
        self._signals, signals_write = os.pipe()
        os.set_blocking(self._signals, False)
        os.set_blocking(signals_write, False)
        signal.set_wakeup_fd(signals_write)
        self._selector.register(self._signals, selectors.EVENT_READ)
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda signum, frame: None)  # the wakeup fd carries the news
        self._loader: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None

    def run(self) -> int:
        """Work until there is nothing left to do.

        Returns:
            The exit code.
        """
        self._start_loader()
        try:
            while self._exit_code is None:
                self._turn()
        finally:
            self._end()
        return self._exit_code

    def _turn(self) -> None:
        wait_s = TICK_S
        if self._later:
            wait_s = min(wait_s, max(0.0, self._later[0][0] - time.monotonic()))
        ready = {key.fileobj for key, _ in self._selector.select(wait_s)}
        if self._signals in ready:
            self._hear_signals()
        if self._channel is not None and self._channel in ready:
            self._hear_loader(self._channel)
        while self._later and self._later[0][0] <= time.monotonic():
            self._do(heapq.heappop(self._later)[2])
        if self._scheduling is not None and not self._options.burst:
            self._scheduling.step()

    # --- what happens ---------------------------------------------------------------------

    def _hear_signals(self) -> None:
        for _ in os.read(self._signals, 4096):
            again = self._fleet.phase == "draining"
            _log.info(
                "stopping now" if again else "stopping: children finish their jobs; once more stops now"
            )
            self._happen(lifecycle.StopAsked())

    def _hear_loader(self, channel: Channel) -> None:
        messages = channel.receive()
        if messages is None:
            self._lose_loader()
            return
        for message in messages:
            getattr(self, "_on_" + message["event"])(message)

    def _on_loaded(self, message: dict[str, Any]) -> None:
        self._options = self._options.resolved(message["url"], tuple(message["queues"]))
        connection = self._reach_redis()
        if connection is None:
            return
        if self._options.with_scheduler and self._scheduling is None:
            self._scheduling = Scheduling(self._options.queues, connection, self._options.logging_level)
            self._scheduling.start()
        queues = ", ".join(self._options.queues)
        _log.info("apps %s; %d children; queues %s", ", ".join(message["apps"]), self._fleet.size, queues)
        self._happen(lifecycle.Loaded())

    def _on_failed(self, message: dict[str, Any]) -> None:
        print(message["message"], file=sys.stderr)  # noqa: T201 - the answer to the command line
        self._exit_code = EXIT_NO_APP

    def _on_forked(self, message: dict[str, Any]) -> None:
        self._born[message["slot"]] = time.monotonic()
        self._happen(lifecycle.Forked(message["slot"]))

    def _on_exited(self, message: dict[str, Any]) -> None:
        slot, code = message["slot"], message["code"]
        done, recycled = code == EXIT_OK, code == EXIT_RECYCLED
        if recycled:
            _log.info("child %d was left unclean by its job; starting another one", message["pid"])
        elif not done and self._fleet.phase != "draining":
            _log.warning("child %d ended with %s; starting another one", message["pid"], _ending(code))
        ran_s = time.monotonic() - self._born.pop(slot, time.monotonic())
        self._happen(lifecycle.Exited(slot, done, ran_s, recycled))

    def _happen(self, event: Event) -> None:
        self._fleet, actions = lifecycle.decide(self._fleet, event)
        for action in actions:
            delay_s = getattr(action, "delay_s", 0.0)
            if delay_s:
                self._count += 1
                heapq.heappush(self._later, (time.monotonic() + delay_s, self._count, action))
            else:
                self._do(action)

    # --- what is done ---------------------------------------------------------------------

    def _do(self, action: Action) -> None:
        if isinstance(action, Fork):
            if action.slot in self._fleet.pending and self._channel is not None:
                self._channel.send(do="fork", slot=action.slot)
        elif isinstance(action, Terminate) and self._channel is not None:
            name = "SIGKILL" if action.now else "SIGTERM"
            self._channel.send(do="signal", slot=action.slot, signal=name)
        elif isinstance(action, StartLoader) and self._fleet.phase == "starting":
            self._start_loader()
        elif isinstance(action, Quit) and self._exit_code is None:
            self._exit_code = EXIT_OK

    def _start_loader(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "ctxjobs_worker.loader", str(theirs.fileno())]
            self._loader = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        self._channel = Channel(ours)
        self._selector.register(self._channel, selectors.EVENT_READ)
        self._channel.send(**self._options.to_message())

    def _lose_loader(self) -> None:
        self._close_channel()
        if self._loader is not None:
            _log.warning("the loader ended with %s", _ending(self._loader.wait()))
        self._born.clear()
        self._happen(lifecycle.LoaderLost())

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._selector.unregister(self._channel)
            self._channel.close()
            self._channel = None

    def _reach_redis(self) -> Redis | None:
        """A connection to a Redis that answers; None once ``--burst`` or the operator gives up."""
        url = str(self._options.url)
        connection = Redis.from_url(url)
        attempts = 0
        while self._exit_code is None:
            try:
                connection.ping()
                return connection
            except RedisError as exc:
                attempts += 1
                error = RedisUnavailableError(safe_url(url), str(exc))
            if self._options.burst and attempts >= BURST_ATTEMPTS:
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
        self._close_channel()  # the loader sees it, lets its children finish, and ends
        if self._loader is not None:
            self._loader.wait()
        self._selector.close()


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
