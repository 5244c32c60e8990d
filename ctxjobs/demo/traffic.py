"""The demo's visitors: requests of three tenants, with users, languages and request ids, over real HTTP.

May import the standard library, click and :mod:`.journal`. Knows the shop as a client does: its URLs and
its answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Final

import click

from ctxjobs.demo.journal import Seen, View

ACTIONS: Final = ("receipt", "split", "charge", "reserve", "rates", "remind")
TENANTS: Final = ("acme", "globex", "initech")
USERS: Final = ("ada", "grace", "linus", "margaret")
LANGUAGES: Final = ("en", "de", "fr")
TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Visit:
    """One request to be sent.

    Attributes:
        order_id: The order that it is about.
        action: What is to be done with it: one of ``ACTIONS``.
        tenant: Whose shop it is.
        user: Who asks.
        language: In which language.
    """

    order_id: int
    action: str
    tenant: str
    user: str
    language: str

    @property
    def path(self) -> str:
        """The URL's path."""
        return f"/orders/{self.order_id}/{self.action}"

    @property
    def request_id(self) -> str:
        """An id that no other visit has."""
        return f"req-{self.order_id:03d}"

    def headers(self) -> dict[str, str]:
        """What a proxy in front of the shop and the user's browser add."""
        return {
            "X-Tenant": self.tenant,
            "X-User": self.user,
            "Accept-Language": f"{self.language}, en;q=0.5",
            "X-Request-ID": self.request_id,
        }

    def sent(self) -> Seen:
        """The same under the names that the shop gives it."""
        return {
            "tenant": self.tenant,
            "user": self.user,
            "session_user": self.user,
            "locale": self.language,
            "request_id": self.request_id,
            "path": self.path,
        }


def plan_visits(count: int) -> list[Visit]:
    """*count* visits: the actions in turn, each by every tenant, by changing users, in changing languages."""
    rounds = [divmod(number, len(ACTIONS)) for number in range(count)]
    return [
        Visit(
            order_id=number + 1,
            action=ACTIONS[turn],
            tenant=TENANTS[(cycle + turn) % len(TENANTS)],
            user=USERS[(2 * cycle + turn) % len(USERS)],
            language=LANGUAGES[cycle % len(LANGUAGES)],
        )
        for number, (cycle, turn) in enumerate(rounds)
    ]


def send_visits(port: int, visits: Iterable[Visit], at_once: int) -> list[View]:
    """Send *visits* to 127.0.0.1, *at_once* at a time.

    Returns:
        What the shop's views said they saw, in the order of *visits*.

    Raises:
        click.ClickException: An answer is not 202.
    """
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda visit: _send(port, visit), visits))


def _send(port: int, visit: Visit) -> View:
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", visit.path, headers=visit.headers())
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 202:
        raise click.ClickException(f"POST {visit.path} was answered with {response.status}: {body[:500]!r}")
    answer = json.loads(body)
    return View(answer["function"], answer["seen"], visit.sent())
