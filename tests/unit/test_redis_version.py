"""Which Redis a worker can work with."""

from __future__ import annotations

import pytest

from ctxjobs.errors import RedisTooOldError
from ctxjobs_worker.upkeep import check_version

URL = "redis://localhost:6379/0"


@pytest.mark.parametrize("found", ["6.2.0", "6.2.14", "7.0.15", "8.0.1", "10.0"])
def test_it_has_all_commands(found: str) -> None:
    """From 6.2 on, numbers being compared as numbers."""
    check_version(URL, found)


@pytest.mark.parametrize("found", ["5.0.14", "6.0.16", "6.1.240"])
def test_an_older_one_is_refused(found: str) -> None:
    """By an error that names where it is and both versions."""
    with pytest.raises(RedisTooOldError) as caught:
        check_version(URL, found)
    assert str(caught.value) == (
        f"Redis at {URL} has version {found}, and workers need 6.2 or newer. "
        "Upgrade it, or name another one in CTXJOBS_REDIS_URL."
    )
