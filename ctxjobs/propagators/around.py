"""What propagators do besides carrying: around each job, in a forked process, for a commit.

Optional methods, one protocol for each, and where they are called. May import
:mod:`ctxjobs.propagators.base`, hosts and the floors of values; knows no extension.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ctxjobs.hosts import Host
from ctxjobs.propagators.base import registered_propagators

_log = logging.getLogger("ctxjobs")


class SupportsAround(Protocol):
    """A propagator that does something around every job, whether the job carries anything or not."""

    def around(self, host: Host, context: Any) -> AbstractContextManager[Any]:
        """A scope around all of a job, teardown functions included.

        Whatever a capture policy says, it is entered before the contexts are pushed and left after the last
        of them was popped, in the thread of the job.

        Args:
            host: The job's app; :meth:`Propagator.wanted` said yes.
            context: The job's application context, outside of which there is none.

        Returns:
            A scope. It cannot suppress the job's exception; what its exit raises counts as a teardown error.
        """
        ...


class SupportsAfterFork(Protocol):
    """A propagator for what must not be shared with the process that one was forked from."""

    def after_fork(self, host: Host) -> None:
        """Let go of connections and the like, which the parent goes on using.

        Called in each forked process of a worker before its first job. What it raises ends that process.

        Args:
            host: An app that was loaded; :meth:`Propagator.wanted` said yes.
        """
        ...


class SupportsCommit(Protocol):
    """A propagator that knows the session whose commit ``options(after="commit")`` waits for."""

    def commit_session(self, host: Host) -> Any | None:
        """SQLAlchemy's session of here and now; None if there is none."""
        ...


def scopes_around(host: Host, context: Any) -> Iterator[AbstractContextManager[Any]]:
    """The scopes to enter before *context*, the application context of a job, is pushed."""
    for _, propagator in _able(host, "around"):
        yield propagator.around(host, context)


def after_fork(hosts: Iterable[Host]) -> None:
    """Let go, in a forked process, of what is still the parent's.

    Args:
        hosts: The apps that were loaded before the fork.
    """
    for host in hosts:
        for name, propagator in _able(host, "after_fork"):
            try:
                propagator.after_fork(host)
            except Exception:  # noqa: PERF203 - raised again
                _log.error("propagator %s: app %r cannot be used after the fork", name, host.import_name)
                raise


def commit_session(host: Host) -> Any | None:
    """The session whose commit a job of *host* can wait for; the first one that a propagator knows."""
    sessions = (propagator.commit_session(host) for _, propagator in _able(host, "commit_session"))
    return next((session for session in sessions if session is not None), None)


def _able(host: Host, method: str) -> Iterator[tuple[str, Any]]:
    """The propagators that the app of *host* uses and that have *method*, by name.

    By name, because a look at a ``runtime_checkable`` protocol takes 10 us and more up to Python 3.11, for
    each propagator around each job.
    """
    for name, propagator in registered_propagators().items():
        if hasattr(propagator, method) and propagator.wanted(host):
            yield name, propagator
