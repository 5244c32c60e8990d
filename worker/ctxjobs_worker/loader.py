"""The loader: imports the apps once, and forks a clean child whenever the supervisor says so.

The only process besides the children that runs user code. It stays single-threaded and opens no
socket of its own, so that the tenth child is as clean as the first. Started by the supervisor, as
``python -m ctxjobs_worker.loader FD SLOTS_FD COUNT`` or by a fork that calls :func:`main` with the same;
talks with it over FD and nothing else; SLOTS_FD is the memory that its children share with the supervisor.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from ctxjobs.config import redis_url_from_environment
from ctxjobs.connection import connect
from ctxjobs.errors import ConfigError, CtxJobsError
from ctxjobs.propagators import after_fork, flush_propagators
from ctxjobs.registry import BoundApp, load_apps, registry
from ctxjobs_worker.channel import Channel
from ctxjobs_worker.child import Child
from ctxjobs_worker.options import (
    EXIT_AGAIN,
    EXIT_NO_APP,
    EXIT_OK,
    EXIT_RECYCLED,
    LOG_FORMAT,
    Remains,
    WorkerOptions,
    child_name,
)
from ctxjobs_worker.slots import Slots

_log = logging.getLogger("ctxjobs.worker")

#: How long children may go on without a supervisor, in seconds: nobody gives signs of life for their jobs
#: then, and half a minute later others would run these, too.
ORPHANS_S: Final = 60.0
#: How long one of Redis' answers may take, in seconds.
SOCKET_TIMEOUT_S: Final = 30.0


class Loader:
    """The loader's loop.

    Args:
        channel: To the supervisor.
        slots: The memory that the children share with it.
    """

    def __init__(self, channel: Channel, slots: Slots) -> None:
        self._channel = channel
        self._memory = slots
        self._slots: dict[int, int] = {}  # pid -> slot
        self._wakeup, wakeup_write = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(wakeup_write, False)
        signal.set_wakeup_fd(wakeup_write)
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)  # the wakeup fd carries the news

    def run(self) -> int:
        """Load, then serve until the supervisor is gone or says quit.

        Returns:
            The exit code.
        """
        messages = self._channel.receive() or []
        if not messages:
            return EXIT_OK
        options = WorkerOptions.from_message(messages.pop(0))
        logging.getLogger().setLevel(options.logging_level)
        try:
            apps = load_apps(options.apps)
            options = options.resolved(_url(apps), _queues(apps))
        except CtxJobsError as exc:
            self._channel.send(event="failed", message=str(exc))
            return EXIT_NO_APP
        _warn_of_shared_things(self._channel)
        gc.collect()
        gc.freeze()
        self._channel.send(event="loaded", url=options.url, queues=options.queues, apps=[a.id for a in apps])
        self._serve(options, apps[0].id)
        return EXIT_OK

    def _serve(self, options: WorkerOptions, system_app: str) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(self._wakeup, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._wakeup in ready:
                    os.read(self._wakeup, 4096)
                    self._reap()
                if self._channel in ready and not self._obey(options, system_app):
                    return self._wind_up()

    def _obey(self, options: WorkerOptions, system_app: str) -> bool:
        messages = self._channel.receive()
        if messages is None:
            return False
        for message in messages:
            if message["do"] == "quit":
                return False
            self._fork(Order.read(message), options, system_app)
        return True

    def _fork(self, order: Order, options: WorkerOptions, system_app: str) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        # Held back until the child can answer it; else a stop that comes now would be ignored.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        pid = os.fork()
        if pid == 0:
            self._channel.close()
            run_child(order, options, system_app, self._memory)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        self._slots[pid] = order.slot
        self._channel.send(event="forked", slot=order.slot, pid=pid)

    def _reap(self) -> None:
        while self._slots:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            slot = self._slots.pop(pid, None)
            if slot is not None:
                code = os.waitstatus_to_exitcode(status)
                self._channel.send(event="exited", slot=slot, pid=pid, code=code)

    def _wind_up(self) -> None:
        """The supervisor is gone, or wants no more: let the children finish their jobs."""
        self._signal_all(signal.SIGTERM)
        give_up_at = time.monotonic() + ORPHANS_S
        with selectors.DefaultSelector() as selector:
            selector.register(self._wakeup, selectors.EVENT_READ)
            while self._slots and time.monotonic() < give_up_at:
                selector.select(give_up_at - time.monotonic())
                os.read(self._wakeup, 4096) if selector.select(0) else None
                self._reap()
        self._signal_all(signal.SIGKILL)

    def _signal_all(self, signum: signal.Signals) -> None:
        for pid in self._slots:
            os.kill(pid, signum)


class Order(msgspec.Struct, frozen=True):
    """What the supervisor wants: a child.

    Attributes:
        slot: Its slot.
        token: 16 hexadecimal digits, the beginning of its execution ids.
        remains: What it is to look after first.
        only_remains: Whether that is all it is to do.
    """

    slot: int
    token: str
    remains: list[Remains] = []
    only_remains: bool = False

    @classmethod
    def read(cls, message: dict[str, Any]) -> Order:
        """What stands in a message."""
        return msgspec.convert(message, cls)


def run_child(order: Order, options: WorkerOptions, system_app: str, memory: Slots) -> NoReturn:
    """Be a child: run jobs until told to stop, then end without unwinding the loader's stack."""
    code = EXIT_AGAIN
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        random.seed()
        after_fork(app.host for app in registry.apps.values())
        code = _work(order, options, system_app, memory)
    except BaseException:  # noqa: BLE001 - whatever it was, the supervisor starts another child
        traceback.print_exc()
    finally:
        flush_propagators()  # os._exit runs nothing that libraries have registered for the end
        logging.shutdown()
        os._exit(code)


def _work(order: Order, options: WorkerOptions, system_app: str, memory: Slots) -> int:
    slot = memory[order.slot]
    slot.take_over(os.getpid())
    connection = connect(str(options.url), socket_timeout=SOCKET_TIMEOUT_S)
    name = child_name(os.getpid(), order.token)
    child = Child(options, name, order.token, connection, slot, system_app, order.remains)
    child.listen_for_stop()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    child.run(only_remains=order.only_remains)
    if child.is_spoilt or child.is_worn:
        return EXIT_RECYCLED
    return EXIT_OK if child.is_done else EXIT_AGAIN


def _warn_of_shared_things(channel: Channel) -> None:
    """What the apps have opened at import: a thread is not there in the children, and a socket is."""
    threads = [one.name for one in threading.enumerate() if one is not threading.main_thread()]
    if threads:
        _log.warning(
            "importing the apps started threads (%s), which children do not have: start them on first use",
            ", ".join(threads),
        )
    if sockets := len(_sockets() - {channel.fileno()}):
        _log.warning(
            "importing the apps opened %d connection(s), which all children share: open them on first use",
            sockets,
        )


def _sockets() -> set[int]:
    folder = Path("/proc/self/fd")
    found = set()
    for entry in folder.iterdir() if folder.exists() else ():
        try:
            if os.readlink(entry).startswith("socket:"):
                found.add(int(entry.name))
        except OSError:  # noqa: PERF203 - the folder's own descriptor is gone by now
            continue
    return found


def _url(apps: list[BoundApp]) -> str:
    """The Redis that all *apps* name.

    Raises:
        ConfigError: They name none, or not the same.
    """
    urls = {app.settings.redis_url for app in apps if app.settings.redis_url}
    if len(urls) > 1:
        raise ConfigError("CTXJOBS_REDIS_URL", "the apps name different ones; start one worker for each.")
    url = urls.pop() if urls else redis_url_from_environment()
    if url is None:
        raise ConfigError(
            "CTXJOBS_REDIS_URL",
            "is not set; give it in the app's config, in the environment, or with --url, such as "
            "redis://localhost:6379/0.",
        )
    return url


def _queues(apps: list[BoundApp]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(app.settings.queue for app in apps))


def main(argv: list[str]) -> int:
    """Entry point: *argv* holds the numbers of the inherited descriptors, and how many slots there are."""
    # The supervisor alone answers signals; these may reach the whole process group.
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    channel_fd, slots_fd, count = map(int, argv[1:4])
    sock = socket.socket(fileno=channel_fd)
    os.set_inheritable(channel_fd, False)
    os.set_inheritable(slots_fd, False)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    with closing(Channel(sock)) as channel:
        return Loader(channel, Slots(count, slots_fd)).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
