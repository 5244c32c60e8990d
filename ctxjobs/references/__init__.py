"""Models that travel as a name and a key, and are loaded again where the job runs.

The codec writes and reads references, and loads nothing; here is which models may travel so, and how
each is loaded. May import :mod:`ctxjobs.codec` and :mod:`ctxjobs.errors`; knows no contexts (whoever
loads has pushed them) and imports no database library. Its files: ``models`` (the list, and what a
loader is), ``mapped`` (classes of SQLAlchemy), ``registration``, ``loading``.
"""

from __future__ import annotations

from ctxjobs.references.loading import Noting, Unloaded, load, unloaded
from ctxjobs.references.models import Gone, ModelLoader
from ctxjobs.references.registration import register_model

__all__ = ["Gone", "ModelLoader", "Noting", "Unloaded", "load", "register_model", "unloaded"]
