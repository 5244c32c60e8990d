"""The demo: a small shop, written as a user would write one, and a run that checks every job of it.

Read ``native_app`` first (or ``flask_app``, which is the same on Flask). Around it: ``journal`` (what the
shop writes down about its jobs), ``outcomes`` (what a view saw against what its job saw), ``page`` (both as
HTML), ``services`` (Redis, web server and worker), ``traffic`` (the requests), ``run``, ``report`` and
``command``, which is ``ctxjobs demo``.

May import everything of ctxjobs but the command line; never ``ctxjobs_worker``, which it starts as a process.
"""

from __future__ import annotations
