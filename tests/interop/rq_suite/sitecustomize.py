"""Python imports this when it starts: in pytest, and in each process that RQ's suite starts.

Only where ``run.py`` says so. Must not import anything of ctxjobs or RQ before it is known that it is wanted.
"""

import os

if os.environ.get("RQ_SUITE"):
    import in_rqs_places

    in_rqs_places.install()
