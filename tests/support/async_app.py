"""The app ``async``, whose jobs are coroutines."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from ctxjobs import App, CtxJobs, current_job

jobs = CtxJobs()


def create_app(*, redis_url: str | None = None) -> App:
    app = App(__name__)
    app.config.update(SECRET_KEY="k1", CTXJOBS_APP_ID="async", CTXJOBS_REDIS_URL=redis_url)
    jobs.init_app(app)
    return app


@jobs.job
async def which_loop() -> str:
    """Which event loop runs this: a mark that is made on it once."""
    loop: Any = asyncio.get_running_loop()
    loop.mark = getattr(loop, "mark", None) or secrets.token_hex(8)
    return str(loop.mark)


@jobs.job
async def sleep_long() -> None:
    await _note_when_cancelled(current_job.id)


@jobs.job
async def leave_task() -> str:
    task = asyncio.create_task(_note_when_cancelled("watcher"), name="watcher")
    await asyncio.sleep(0)
    return "left" if not task.done() else "it is done"


async def _note_when_cancelled(name: str) -> None:
    connection = current_job.connection
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0)
        connection.rpush("cancelled", name)
