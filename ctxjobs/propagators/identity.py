"""Who a job runs as: the id of a user, a stamp of the user's state, and what to do if either no longer holds.

For every propagator that carries a user. May import the floors of values; knows no library of users.

The stamp is what the app computes of a user (``CTXJOBS_USER_STAMP``): roles, the time of the last change of
the password, whether the account is open. Only a digest of it travels, so that a password hash that is
part of it never lies in Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ctxjobs import codec
from ctxjobs.config import USER_STAMP
from ctxjobs.errors import ConfigError, JobDroppedError, UserGoneError, UserStaleError
from ctxjobs.policy import Capture, GoneUser, StaleUser


@dataclass(frozen=True, slots=True)
class Identity:
    """A user, as far as one travels.

    Attributes:
        user_id: The id; None for nobody.
        stamp: Digest of the user's stamp, in hex; None if there is nothing to compare.
        gone: What to do if the user no longer exists.
        stale: What to do if the stamp has changed.
    """

    user_id: str | None = None
    stamp: str | None = None
    gone: GoneUser = "fail"
    stale: StaleUser = "fail"

    @classmethod
    def of(cls, user_id: str, user: Any, config: Mapping[str, Any], policy: Capture) -> Identity:
        """The identity of a user.

        Args:
            user_id: The id.
            user: The user; None where only the id is known, which travels without a stamp.
            config: The app's configuration.
            policy: Says what to do if the user is gone or has changed.
        """
        stamped = user is not None and policy.stale_user != "run" and config.get(USER_STAMP) is not None
        if not stamped:
            return cls(user_id, gone=policy.gone_user)
        return cls(user_id, _stamp(user_id, user, config), policy.gone_user, policy.stale_user)

    def value(self) -> dict[str, Any]:
        """What travels, without what is the default; the inverse of :meth:`read`."""
        out = {"id": self.user_id, "stamp": self.stamp, "gone": self.gone, "stale": self.stale}
        return {name: value for name, value in out.items() if value not in (None, "fail")}

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Identity:
        """Read what :meth:`value` wrote."""
        return cls(value.get("id"), value.get("stamp"), value.get("gone", "fail"), value.get("stale", "fail"))

    def load(self, loader: Callable[[Any], Any], config: Mapping[str, Any]) -> Any | None:
        """The user whom the job runs as; None for nobody.

        Args:
            loader: Gives the user of an id, or None.
            config: The app's configuration.

        Raises:
            UserGoneError: The user no longer exists.
            UserStaleError: The stamp has changed.
            JobDroppedError: One of the two, and the job is not to run then.
            ConfigError: The job carries a stamp, and the app here computes none.
        """
        if self.user_id is None:
            return None
        user = loader(self.user_id)
        if user is None:
            self._act(self.gone, UserGoneError(self.user_id), "no longer exists")
            return None
        if self.stamp is None or self.stamp == _stamp(self.user_id, user, config):
            return user
        self._act(self.stale, UserStaleError(self.user_id), "has changed since it was enqueued")
        return None

    def _act(self, rule: str, error: Exception, what: str) -> None:
        if rule == "drop":
            raise JobDroppedError(f"user {self.user_id!r} {what}") from error
        if rule != "anonymous":
            raise error


def _stamp(user_id: str, user: Any, config: Mapping[str, Any]) -> str:
    compute = config.get(USER_STAMP)
    if compute is None:
        raise ConfigError(
            USER_STAMP,
            "is not set in this process, and the job carries the stamp of its user. Deploy the same "
            "configuration to the web process and the worker, then requeue the job.",
        )
    value = codec.encode([user_id, compute(user)], USER_STAMP)
    return sha256(codec.dumps(_sorted(value))).hexdigest()


def _sorted(value: Any) -> Any:
    """*value*, with an order of its own for what has none: sets differ from process to process."""
    if isinstance(value, dict):
        items = {name: _sorted(value[name]) for name in sorted(value)}
        if value.get("~") in ("set", "frozenset", "dict"):
            items["v"] = sorted(items["v"], key=codec.dumps)
        return items
    return [_sorted(item) for item in value] if isinstance(value, list) else value
