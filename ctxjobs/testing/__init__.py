"""What tests of users and of third parties import; nothing of it is needed to run jobs.

:class:`HostConformance` is what a host must do, as tests, and :class:`PropagationMatrix` what a
propagator must. They import no test framework; pytest runs them.
:class:`EnqueuedJobs` is for tests of apps; the pytest plugin is the package ``ctxjobs_pytest``.
"""

from __future__ import annotations

from ctxjobs.testing.enqueued import EnqueuedJobs
from ctxjobs.testing.isolation import IsolationConformance
from ctxjobs.testing.matrix import PropagationMatrix
from ctxjobs.testing.reading import ReadingConformance
from ctxjobs.testing.restoring import RestoringConformance
from ctxjobs.testing.unwinding import UnwindingConformance

__all__ = ["EnqueuedJobs", "HostConformance", "PropagationMatrix"]


class HostConformance(ReadingConformance, RestoringConformance, UnwindingConformance, IsolationConformance):
    """Everything that a host must do, as tests for pytest: make a subclass for each host.

    A host whose framework looks like Flask needs the two attributes and one method::

        class TestMyHost(HostConformance):
            host_class = MyHost
            web = myframework  # current_app, g, request, session, url_for ...

            def make_app(self, import_name):
                return myframework.App(import_name)

    For one that looks different, override what :class:`~ctxjobs.testing.harness.HostHarness` has, too.
    ``Rn`` in the tests' descriptions number the requirements of the contract that all hosts share.
    """
