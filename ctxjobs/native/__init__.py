"""The native context system: Flask's two contexts on Werkzeug alone, for an app that needs no Flask.

It is a context system with just enough web around it to be used alone: routing, sessions, signals,
a test client. No templates, no blueprints. It behaves as Flask 3.1.3 does, except that

- every teardown function runs, and what they raise is raised together (``TeardownError``);
- a wrong pop is refused before anything happens (``ContextPopError``);
- a push that fails half-way leaves nothing active;
- ``pop(exc)`` never guesses another exception than the one it was given;
- in debug mode a context knows where it was pushed, and says so if it is never popped.

Ground up: ``globals`` (the two variables and the proxies), ``signals``, ``wrappers`` (request and
response), ``sessions``, ``leaks`` (who pushed, in debug mode), ``unwind`` (the rules of leaving a
context), ``ctx`` (the two contexts), ``helpers`` (functions for use inside of a context), ``setup``
(what is registered on an app), ``app``, ``cli``, ``testing``.

May import werkzeug, itsdangerous, blinker, click, the standard library and :mod:`ctxjobs.errors`;
knows nothing of jobs, of RQ or of Flask. This file imports nothing: name the module that you need.
"""

from __future__ import annotations
