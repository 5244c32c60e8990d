"""Configuration of ``rq worker``: its parent imports what the jobs need, so that each fork need not."""

import support.equivalence.functions  # noqa: F401 - as said
from support import depot

depot.create_app()
