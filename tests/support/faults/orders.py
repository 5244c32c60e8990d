"""What is enqueued: numbered jobs of several kinds, and what is to become of each.

May import the app, which makes the jobs; knows no fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rq import Callback, Retry
from support.faults import app
from support.faults.stock import job_id

from ctxjobs import g

#: ``work``, ``work_async``, ``leak`` and ``leave_thread`` succeed; ``fail`` and ``exhaust`` raise; ``flaky``
#: raises as long as it has retries left; ``overrun`` overruns its time limit, in one part or another;
#: ``end_process`` ends its process, in one way or another.
Kind = Literal[
    "work", "work_async", "leak", "leave_thread", "fail", "exhaust", "flaky", "overrun", "end_process"
]


@dataclass(frozen=True, slots=True)
class Order:
    """One job.

    Attributes:
        number: Its number, from 1.
        kind: Which function it calls.
        ms: How long it works, in milliseconds; or how much memory it wants, in MiB.
        queue: Its queue.
        retries: How many it has.
        after: Number of the job that it depends on; 0 is none.
        ending: How it ends its process, for those that do: see ``ENDINGS`` of the app; or in which part it
            takes too long: see ``PARTS``.
        timeout: Its time limit, in seconds; 0 is RQ's.
    """

    number: int
    kind: Kind = "work"
    ms: int = 0
    queue: str = "default"
    retries: int = 0
    after: int = 0
    ending: str = ""
    timeout: int = 0

    @property
    def succeeds(self) -> bool:
        """Whether it ends well, if nothing goes wrong."""
        return self.kind not in ("fail", "exhaust", "overrun", "end_process")

    def place(self) -> None:
        """Enqueue it, in an application context."""
        options: dict[str, object] = {"job_id": job_id(self.number), "queue": self.queue}
        if self.retries:
            options["retry"] = Retry(max=self.retries)
        if self.after:
            options["depends_on"] = job_id(self.after)
        if self.timeout:
            options["timeout"] = self.timeout
        how = (self.ending,) if self.ending else (self.ms,)
        function = app.overrun_async if self.ending == "the coroutine" else getattr(app, self.kind)
        if self.kind == "overrun":
            g.overruns = self.ending
            options["on_success"] = Callback(app.overrun_success_callback, timeout=1)
            options["on_failure"] = Callback(app.overrun_failure_callback, timeout=1)
        function.options(**options).enqueue(self.number, *how)
