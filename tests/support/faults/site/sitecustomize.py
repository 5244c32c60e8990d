"""Imported by Python before anything else, in every process of a worker under test."""

import os
import sys

if "FAULTS_LEDGER" in os.environ and any("ctxjobs" in word for word in sys.orig_argv):
    from support.faults import clocks, failpoints, haste

    haste.hurry()
    haste.rename()
    clocks.repair_sleep()
    failpoints.place()
