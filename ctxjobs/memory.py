"""A Redis that is a dict in this process: what RQ reads and writes while jobs run inline.

redis-py's own client, which ends here instead of at a socket, so that all above it is the real thing: RQ's
hashes, registries and results, in bytes. May import redis-py and :mod:`ctxjobs.errors`. Knows no jobs and no
clock (nothing expires), and has the commands that RQ needs for enqueuing and running a job, and no others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import redis

from ctxjobs.errors import InlineCommandError


class MemoryRedis(redis.Redis):
    """A client whose commands work on a dict.

    Args:
        data: The dict; None makes one.
    """

    def __init__(self, data: dict[str, Any] | None = None) -> None:
        super().__init__()  # its pool connects on first use, and nothing here uses it
        self._data = {} if data is None else data

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._data)} keys>"

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Do what redis-py would have sent.

        Raises:
            InlineCommandError: RQ does not need this command, so it is not here.
        """
        name, *rest = args
        command: Callable[..., Any] | None = getattr(self, f"_do_{name.lower()}", None)
        if command is None:
            raise InlineCommandError(str(name))
        return command(*rest)

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:
        """Commands that are done at once, and whose results are told at the end."""
        return _Pipeline(self._data)

    def _get(self, key: Any, kind: Callable[[], Any] = dict) -> Any:
        """What lies under *key*, to read: empty if nothing does."""
        return self._data.get(_text(key)) or kind()

    def _own(self, key: Any, kind: Callable[[], Any] = dict) -> Any:
        """What lies under *key*, to write."""
        return self._data.setdefault(_text(key), kind())

    # --- keys -----------------------------------------------------------------------------

    def _do_info(self, *_: Any) -> dict[str, str]:
        return {"redis_version": "7.0.0"}  # RQ asks before it decides which commands to use

    def _do_exists(self, *keys: Any) -> int:
        return sum(bool(self._get(key)) for key in keys)

    def _do_del(self, *keys: Any) -> int:
        return sum(bool(self._data.pop(_text(key), None)) for key in keys)

    def _do_expire(self, key: Any, *_: Any) -> bool:
        return bool(self._do_exists(key))

    _do_persist = _do_expire

    # --- hashes ---------------------------------------------------------------------------

    def _do_hset(self, key: Any, *given: Any) -> int:
        return _update(self._own(key), {_bytes(name): _bytes(value) for name, value in _pairs(given)})

    def _do_hget(self, key: Any, name: Any) -> bytes | None:
        value: bytes | None = self._get(key).get(_bytes(name))
        return value

    def _do_hgetall(self, key: Any) -> dict[bytes, bytes]:
        return dict(self._get(key))

    def _do_hexists(self, key: Any, name: Any) -> bool:
        return _bytes(name) in self._get(key)

    def _do_hincrbyfloat(self, key: Any, name: Any, amount: Any) -> float:
        value = float(self._do_hget(key, name) or 0) + float(amount)
        self._do_hset(key, name, f"{value:.15g}")
        return value

    _do_hincrby = _do_hincrbyfloat

    # --- sets and sorted sets: dicts, which keep the order of arrival ------------------------

    def _do_sadd(self, key: Any, *members: Any) -> int:
        return _update(self._own(key), dict.fromkeys(map(_bytes, members), 0.0))

    def _do_smembers(self, key: Any) -> list[bytes]:
        return list(self._get(key))  # in the order of arrival, which dependents run in

    def _do_sismember(self, key: Any, member: Any) -> bool:
        return self._do_hexists(key, member)

    def _do_zadd(self, key: Any, *given: Any) -> int:
        flags = [text for text in map(_text, given[:3]) if text in ("NX", "XX", "GT", "LT", "CH")]
        scores = {_bytes(member): float(score) for score, member in _pairs(given[len(flags) :])}
        known = self._own(key)
        if "XX" in flags:
            scores = {member: score for member, score in scores.items() if member in known}
        return _update(known, scores)

    def _do_zscore(self, key: Any, member: Any) -> float | None:
        score: float | None = self._get(key).get(_bytes(member))
        return score

    def _do_zrange(self, key: Any, start: Any, end: Any, *_: Any) -> list[bytes]:
        scores = self._get(key)
        return _slice(sorted(scores, key=lambda member: (scores[member], member)), start, end)

    def _do_zrangebyscore(self, key: Any, low: Any, high: Any, *_: Any) -> list[bytes]:
        scores = self._get(key)
        return [
            member for member in self._do_zrange(key, 0, -1) if float(low) <= scores[member] <= float(high)
        ]

    def _do_zremrangebyscore(self, key: Any, low: Any, high: Any) -> int:
        return self._remove(key, *self._do_zrangebyscore(key, low, high))

    def _size(self, key: Any) -> int:
        return len(self._get(key))

    def _remove(self, key: Any, *members: Any) -> int:
        known = self._get(key)
        return sum(known.pop(_bytes(member), self) is not self for member in members)

    _do_hdel = _do_srem = _do_zrem = _remove
    _do_hlen = _do_scard = _do_zcard = _do_llen = _do_xlen = _size

    # --- lists ----------------------------------------------------------------------------

    def _do_rpush(self, key: Any, *values: Any) -> int:
        self._own(key, list).extend(map(_bytes, values))
        return self._size(key)

    def _do_lpush(self, key: Any, *values: Any) -> int:
        self._own(key, list)[:0] = [_bytes(value) for value in reversed(values)]
        return self._size(key)

    def _do_lrange(self, key: Any, start: Any, end: Any) -> list[bytes]:
        return _slice(self._get(key, list), start, end)

    def _do_lrem(self, key: Any, count: Any, value: Any) -> int:
        try:
            self._get(key, list).remove(_bytes(value))
        except ValueError:
            return 0
        return 1

    # --- streams: RQ's results ----------------------------------------------------------------

    def _do_xadd(self, key: Any, *given: Any) -> bytes:
        start = [_text(one) for one in given].index("*")  # before it stand limits of the stream's length
        entries = self._own(key, list)
        entry_id = f"{time.time_ns() // 1_000_000}-{len(entries)}".encode()
        entries.append((entry_id, dict(_pairs(map(_bytes, given[start + 1 :])))))
        return entry_id

    def _do_xrevrange(self, key: Any, *given: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
        entries = list(reversed(self._get(key, list)))
        return entries[: int(given[-1])] if "COUNT" in given or b"COUNT" in given else entries


class _Pipeline(MemoryRedis):
    """What :meth:`MemoryRedis.pipeline` returns: alone in its process, every command is a transaction."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self._results: list[Any] = []
        self.explicit_transaction = False

    def __enter__(self) -> _Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.reset()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """As the client's; the result is told now and at the end."""
        self._results.append(super().execute_command(*args, **options))
        return self._results[-1]

    def execute(self) -> list[Any]:
        """The results of all commands."""
        results = self._results
        self.reset()
        return results

    def reset(self) -> Any:
        """Begin anew."""
        self._results, self.explicit_transaction = [], False

    def multi(self) -> None:
        """Begin the transaction."""
        self.explicit_transaction = True
        self._results = []

    def watch(self, *_: Any) -> None:
        """Nobody else writes."""

    def unwatch(self) -> None:
        """Nobody else writes."""


def _text(value: Any) -> str:
    return _bytes(value).decode()


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else str(value)).encode()  # RQ's states are both str and Enum


def _pairs(given: Any) -> Iterator[tuple[Any, Any]]:
    each = iter(given)
    return zip(each, each, strict=True)


def _update(known: dict[bytes, Any], new: dict[bytes, Any]) -> int:
    before = len(known)
    known.update(new)
    return len(known) - before


def _slice(members: Sequence[bytes], start: Any, end: Any) -> list[bytes]:
    return list(members[int(start) : int(end) + 1 or None])  # Redis counts the end in
