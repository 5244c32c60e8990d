"""The matrix "every way to enqueue, every host, every kind of worker": its apps, jobs, ways, and a run of it.

Worker processes import the apps and jobs, too: nothing that they need may import pytest, and nothing but
``flask_app`` and ``preloaded`` imports Flask.
"""

from __future__ import annotations
