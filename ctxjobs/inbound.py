"""What comes from outside and ends in Redis or in logs: ids; checked and bounded.

Imports the standard library alone.
"""

from __future__ import annotations

import re
from typing import Final

#: What an id may look like: UUIDs, W3C and vendors' trace ids, base64; 128 characters hold all of them.
SAFE_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
