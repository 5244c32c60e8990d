"""One round: a plan carried out, with real processes and a real Redis, and the account of it."""

from __future__ import annotations

import random
import signal
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

from support.faults import failpoints
from support.faults.accounts import Account
from support.faults.bench import ENDS, Bench
from support.faults.crew import stop
from support.faults.plans import REDIS, Blow, Plan
from support.faults.proxy import Line
from support.faults.servers import AOF, Server
from support.faults.stock import statuses
from support.waiting import wait_until

#: Steps at which a child may be killed.
STEPS = (*failpoints.CHILD, failpoints.IN_A_JOB)


def run_round(plan: Plan, folder: Path, *, timeout_s: float = 40.0, in_earnest: bool = False) -> Account:
    """Carry out a plan, and give account.

    Args:
        plan: The plan.
        folder: For the ledger, the logs, and Redis' files.
        timeout_s: For how long jobs may go on after the last blow.
        in_earnest: Whether all times are those of the product, and Redis is paused for a minute.
    """
    hits_redis = any(blow.hit in REDIS[1:] for blow in plan.blows)
    with ExitStack() as stack:
        server = stack.enter_context(Server(folder / "redis", *(AOF if hits_redis else ())))
        line = stack.enter_context(Line(server.socket_path, random.Random(plan.seed)))
        detour = line.url if hits_redis else ""
        bench = stack.enter_context(Bench(folder, server.url, detour=detour, in_earnest=in_earnest))
        bench.place(plan.orders[: plan.early])
        late = threading.Thread(target=bench.place, args=(plan.orders[plan.early :],))
        with bench.crew.kept_worker(*plan.options):
            late.start()
            for blow in plan.blows:
                _Hand(bench, server, line, plan, 60.0 if in_earnest else 3.0).strike(blow)
            late.join()
            return bench.settle(timeout_s=timeout_s)


class _Hand:
    """Strikes the blows."""

    def __init__(self, bench: Bench, server: Server, line: Line, plan: Plan, longest_s: float) -> None:
        self._longest_s = longest_s
        self._bench, self._crew, self._server, self._line, self._plan = bench, bench.crew, server, line, plan

    def strike(self, blow: Blow) -> None:
        """Wait until it is time, and strike."""
        with suppress(TimeoutError):  # there is little left to run, and it hits what there is
            wait_until(
                lambda: self._crew.ledger.starts() >= blow.at or self._is_over(),
                timeout_s=20,
                what="so many have run",
            )
        _let_pass(blow.wait_ms / 1000)
        family = self._crew.family()
        match blow.hit:
            case "kill-child":
                self._kill(blow, (*family.children, *family.forks))
            case "kill-loader":
                self._kill(blow, family.loaders)
            case "kill-supervisor":
                self._kill(blow, (family.supervisor,))
            case "kill-everybody":
                self._crew.kill(blow.hit, family.everybody)
            case "kill-at-a-step":
                self._crew.arm(STEPS[blow.pick % len(STEPS)], 1 + blow.pick % 3)
            case "term":
                self._crew.signal(signal.SIGTERM)
            case "hup":
                self._crew.signal(signal.SIGHUP)
            case "term-twice":
                self._crew.signal(signal.SIGTERM)
                children = [pid for pid in family.children if stop(pid)]  # what they hold now, they hold then
                self._crew.note(blow.hit, 0, children)
                self._crew.signal(signal.SIGTERM)
            case _:
                self._strike_redis(blow)

    def _strike_redis(self, blow: Blow) -> None:
        """Redis keeps all that it has answered, so no job is in flight at any of these."""
        moment_s = blow.pick % 1000 / 1000
        match blow.hit:
            case "flush-scripts":
                self._bench.connection.script_flush()
            case "restart-redis":
                self._server.kill()
                _let_pass(moment_s)
                self._server.start()
            case "pause-redis":
                self._server.pause()
                _let_pass(self._longest_s * moment_s)
                self._server.resume()
            case "cut-line":
                self._line.cut_all()
            case "cut-replies":
                self._line.cut_share = 0.2
                _let_pass(moment_s)
                self._line.cut_share = 0.0
        self._crew.ledger.fault(0, blow.hit, ())

    def _kill(self, blow: Blow, pids: tuple[int, ...]) -> None:
        if pids:
            self._crew.kill(blow.hit, [pids[blow.pick % len(pids)]])

    def _is_over(self) -> bool:
        found = statuses(self._bench.connection, [order.number for order in self._plan.orders])
        return all(status in ENDS for status in found.values())


def _let_pass(seconds: float) -> None:
    """A moment that the seed has chosen: nothing is waited for."""
    threading.Event().wait(seconds)
