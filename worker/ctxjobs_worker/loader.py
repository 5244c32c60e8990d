"""The loader: imports the apps once, and forks a clean child whenever the supervisor says so.

The only process besides the children that runs user code. It stays single-threaded and opens no
socket of its own, so that the tenth child is as clean as the first. Started as
``python -m ctxjobs_worker.loader FD`` by the supervisor, with which it talks over FD and nothing else.
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
import traceback
import uuid
from typing import NoReturn

from redis import Redis

from ctxjobs.config import redis_url_from_environment
from ctxjobs.errors import ConfigError, CtxJobsError
from ctxjobs.propagators import after_fork, flush_propagators
from ctxjobs.registry import BoundApp, load_apps, registry
from ctxjobs_worker.channel import Channel
from ctxjobs_worker.options import EXIT_AGAIN, EXIT_NO_APP, EXIT_OK, EXIT_RECYCLED, WorkerOptions
from ctxjobs_worker.worker import Worker


class Loader:
    """The loader's loop.

    Args:
        channel: To the supervisor.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
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
            if message["do"] == "fork":
                self._fork(message["slot"], options, system_app)
            else:
                self._signal(message["slot"], signal.Signals[message["signal"]])
        return True

    def _fork(self, slot: int, options: WorkerOptions, system_app: str) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        # Held back until the child can answer it; else a stop that comes now would be ignored.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        pid = os.fork()
        if pid == 0:
            self._channel.close()
            run_child(options, system_app)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        self._slots[pid] = slot
        self._channel.send(event="forked", slot=slot, pid=pid)

    def _signal(self, slot: int, signum: signal.Signals) -> None:
        for pid, own_slot in self._slots.items():
            if own_slot == slot:
                os.kill(pid, signum)

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
        """The supervisor is gone: let the children finish their jobs."""
        for pid in self._slots:
            os.kill(pid, signal.SIGTERM)
        for pid in self._slots:
            os.waitpid(pid, 0)


def run_child(options: WorkerOptions, system_app: str) -> NoReturn:
    """Be a child: run jobs until told to stop, then end without unwinding the loader's stack."""
    code = EXIT_AGAIN
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        random.seed()
        after_fork(app.host for app in registry.apps.values())
        code = _work(options, system_app)
    except BaseException:  # noqa: BLE001 - whatever it was, the supervisor starts another child
        traceback.print_exc()
    finally:
        flush_propagators()  # os._exit runs nothing that libraries have registered for the end
        logging.shutdown()
        os._exit(code)


def _work(options: WorkerOptions, system_app: str) -> int:
    worker = Worker(
        list(options.queues),
        name=f"{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}",
        connection=Redis.from_url(str(options.url)),
        allow_plain=options.allow_plain,
        system_app=system_app,
        on_leak=options.on_leak,
    )
    worker.listen_for_stop()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    worker.work(burst=options.burst, logging_level=options.logging_level)
    if worker.is_spoilt:
        return EXIT_RECYCLED
    return EXIT_OK if worker.is_done else EXIT_AGAIN


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
    """Entry point: *argv* holds the number of the inherited socket."""
    # The supervisor alone answers signals; these may reach the whole process group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    sock = socket.socket(fileno=int(argv[1]))
    os.set_inheritable(sock.fileno(), False)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    return Loader(Channel(sock)).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
