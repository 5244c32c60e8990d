"""The demo's page in a real browser: buttons are pressed, rows appear, and they match."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.browser import PROGRAM, Chromium
from support.demo import DEADLINE_S, served_demo
from support.waiting import wait_until

pytestmark = pytest.mark.skipif(
    not PROGRAM.exists() and "CI" not in os.environ,
    reason=f"{PROGRAM} is not installed (Debian: apt-get install chromium); CI never skips this",
)

ACTIONS = ("receipt", "split", "charge", "reserve", "rates", "remind")


@pytest.fixture(scope="module", params=["native", "flask"])
def page(request: pytest.FixtureRequest) -> Iterator[Chromium]:
    """The demo's page, after globex's French customer pressed every button, and every job has ended."""
    with served_demo(request.param) as demo, Chromium() as browser:
        browser.open(demo.url)
        wait_until(lambda: count(browser, "button") == 6, timeout_s=DEADLINE_S, what="six buttons")
        browser.evaluate("find('tenant').value = 'globex'; find('language').value = 'fr'")
        for action in ACTIONS:
            browser.evaluate(f"document.querySelector('[data-action={action}]').click()")
        ended = "tbody[data-state=same], tbody[data-state=differs]"
        wait_until(lambda: count(browser, ended) == 7, timeout_s=DEADLINE_S, what="seven ended jobs")
        yield browser


def count(browser: Chromium, selector: str) -> int:
    """How many elements of the page match a CSS selector."""
    return int(browser.evaluate(f"document.querySelectorAll({selector!r}).length"))


def test_every_job_saw_what_its_view_saw(page: Chromium) -> None:
    """Six buttons make seven jobs, and the page says of each that it matches."""
    assert count(page, "tbody[data-state=same]") == 7
    assert page.evaluate("document.querySelector('.verdict.same').innerText").startswith(
        "All of these 7 jobs"
    )


def test_rows_show_what_was_chosen(page: Chromium) -> None:
    """View and job of every row saw the tenant and the language that were chosen on the page."""
    rows = page.evaluate("[...document.querySelectorAll('tbody tr')].map(row => row.innerText)")
    assert len(rows) == 14
    assert all("globex" in row and "fr" in row.split() for row in rows)


def test_page_reports_no_error(page: Chromium) -> None:
    """The page's own line for errors is empty."""
    assert page.evaluate("find('error').innerText") == ""


def test_page_can_be_looked_at(page: Chromium, tmp_path: Path) -> None:
    """The page paints: its picture is a PNG of more than a blank sheet."""
    page.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000
