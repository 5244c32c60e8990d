"""What is enqueued: numbered jobs of several kinds, and what is to become of each.

May import the app, which makes the jobs; knows no fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rq import Retry
from support.faults import app
from support.faults.stock import job_id

#: ``work``, ``work_async``, ``leak`` and ``leave_thread`` succeed; ``fail`` and ``exhaust`` raise; ``flaky``
#: raises as long as it has retries left; ``end_process`` ends its process, in one way or another.
Kind = Literal["work", "work_async", "leak", "leave_thread", "fail", "exhaust", "flaky", "end_process"]


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
        ending: How it ends its process, for those that do: see ``ENDINGS`` of the app.
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
        return self.kind not in ("fail", "exhaust", "end_process")

    def place(self) -> None:
        """Enqueue it."""
        options: dict[str, object] = {"job_id": job_id(self.number), "queue": self.queue}
        if self.retries:
            options["retry"] = Retry(max=self.retries)
        if self.after:
            options["depends_on"] = job_id(self.after)
        if self.timeout:
            options["timeout"] = self.timeout
        how = (self.ending,) if self.ending else (self.ms,)
        getattr(app, self.kind).options(**options).enqueue(self.number, *how)
