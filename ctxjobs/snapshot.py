"""Snapshot: the frozen value that is captured at enqueue and restored in the worker.

Pure values, JSON-shaped and versioned; values that an app put in are already encoded here, so
nothing that the app changes later can change a snapshot. Values are shown by :meth:`Snapshot.shown` and by
nothing else; a repr has names only. May import :mod:`ctxjobs.policy` for its names, :mod:`ctxjobs.codec`,
:mod:`ctxjobs.triggers` and :mod:`ctxjobs.errors`; knows no framework, no Redis and no signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

import msgspec

from ctxjobs import codec
from ctxjobs.codec import Primitive
from ctxjobs.errors import DecodeError, SnapshotTooLargeError
from ctxjobs.policy import dotted, header_name, is_header
from ctxjobs.triggers import Trigger

#: Version of the layout below. A release reads its own and, from now on, every earlier one.
WIRE_VERSION: Final = 1

_TRIGGERS: Final = get_args(Trigger)
#: Fields that are the same in a snapshot and on the wire, where empty ones are left out.
_MAPPINGS: Final = ("g", "skipped", "propagators")
_LISTS: Final = ("cleared", "overrides", "system", "hidden")

#: What is shown in place of a hidden value.
HIDDEN: Final = "(hidden)"
#: The header that lineage has a copy of.
_REQUEST_ID_PATH: Final = dotted("headers", header_name("X-Request-ID"))


class RequestData(msgspec.Struct, frozen=True):
    """A request, as far as it travels.

    Attributes:
        environ: The WSGI environ's string keys that a request context is rebuilt from.
        endpoint: Endpoint that the URL matched; None if it matched none.
        rule: The URL rule that matched; None if none did.
        body: The raw body; None if the policy took none.
    """

    environ: Mapping[str, str]
    endpoint: str | None = None
    rule: str | None = None
    body: bytes | None = None

    def __repr__(self) -> str:
        body = "" if self.body is None else f", body of {len(self.body)} bytes"
        return f"RequestData({', '.join(self.environ)}; endpoint={self.endpoint!r}, rule={self.rule!r}{body})"


@dataclass(frozen=True, slots=True)
class Lineage:
    """Which request and which job this one descends from.

    Attributes:
        root: Id of the first job of the chain; None if this job is it.
        parent: Id of the job that enqueued this one; None if no job did.
        hop: How many jobs stand between this one and the first; 0 for the first.
        request: Id of the request that the chain began in: that of its header ``X-Request-ID``, or else one
            that was made for it; None if it began elsewhere.
    """

    root: str | None = None
    parent: str | None = None
    hop: int = 0
    request: str | None = None

    def child_of(self, job_id: str) -> Lineage:
        """The lineage of a job that the job *job_id*, which has this lineage, enqueues."""
        return Lineage(self.root or job_id, job_id, self.hop + 1, self.request)

    def to_primitive(self) -> list[Primitive]:
        """This lineage, without what is missing at its end; the inverse of ``Lineage(*primitive)``."""
        if self.request is not None:
            return [self.root, self.parent, self.hop, self.request]
        return [self.root, self.parent, self.hop] if self.parent else []


# Structs, not dataclasses: measured, making a snapshot takes a sixth of the time.
class Snapshot(msgspec.Struct, frozen=True):
    """What a job was enqueued in.

    Attributes:
        app_id: The app whose contexts these are.
        trigger: What enqueued the job.
        lineage: Which job this one descends from.
        request: The request; None if the job was enqueued outside of one.
        session: The session keys that travel, encoded; None if there was no session.
        g: The names on ``g`` that travel, encoded.
        propagators: What propagators took, encoded, by the name of the propagator.
        skipped: What was there and did not travel, though something takes it or because it is local: by
            path, such as ``g.db``, the reason.
        left_out: Names that were there and that the policy did not list, by kind: ``g``, ``session``,
            ``headers`` (as the environ spells them), and of the ``request`` its ``cookies``, ``form``,
            ``files``, ``json``; a few dozen at most.
        cleared: Names of the propagators of which the job runs without state.
        overrides: What was said with :class:`~ctxjobs.Override` at the call, in place of what was there:
            paths such as ``user``, ``g.tenant``, ``session.cart``.
        system: What the app's system context filled in, in the same way.
        hidden: Paths of what is not to be shown, such as ``g.token``, ``headers.X-Tenant``, ``body``.
    """

    app_id: str
    trigger: Trigger = "code"
    lineage: Lineage = Lineage()
    request: RequestData | None = None
    session: Mapping[str, Primitive] | None = None
    g: Mapping[str, Primitive] = msgspec.field(default_factory=dict)
    skipped: Mapping[str, str] = msgspec.field(default_factory=dict)
    propagators: Mapping[str, Primitive] = msgspec.field(default_factory=dict)
    left_out: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    cleared: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    system: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = [f"app_id={self.app_id!r}", f"trigger={self.trigger!r}"]
        if self.request is not None:
            parts.append(f"request={self.request!r}")
        kinds = {"session": self.session, "g": self.g, "propagators": self.propagators}
        parts += [f"{kind}: {', '.join(values)}" for kind, values in kinds.items() if values]
        return f"Snapshot({', '.join(parts)})"

    def shown(self) -> dict[str, Any]:
        """What of this snapshot may be shown: plain values by kind, ``"(hidden)"`` for hidden ones.

        Returns:
            ``app_id``, ``trigger``, ``lineage``, ``request`` (None, or its ``endpoint``, ``rule``,
            ``environ``, ``headers`` by name, and ``body`` as text), ``session``, ``g``, ``propagators``,
            ``skipped``, ``left_out``, ``cleared``, ``overrides``, ``system``. Values of the app stand there
            as they travel, tagged and not decoded.
        """
        return {
            "app_id": self.app_id,
            "trigger": self.trigger,
            "lineage": self._shown_lineage(),
            "request": None if self.request is None else self._shown_request(self.request),
            "session": None if self.session is None else self._shown("session", self.session),
            "g": self._shown("g", self.g),
            "propagators": self._shown("propagators", self.propagators),
            "skipped": dict(self.skipped),
            "left_out": {kind: list(names) for kind, names in self.left_out.items()},
            "cleared": list(self.cleared),
            "overrides": list(self.overrides),
            "system": list(self.system),
        }

    def _shown_lineage(self) -> dict[str, Any]:
        lineage = asdict(self.lineage)
        return {**lineage, "request": HIDDEN} if _REQUEST_ID_PATH in self.hidden else lineage

    def _shown_request(self, request: RequestData) -> dict[str, Any]:
        headers = {header_name(key): value for key, value in request.environ.items() if is_header(key)}
        environ = {key: value for key, value in request.environ.items() if not is_header(key)}
        body = None if request.body is None else request.body.decode(errors="replace")
        return {
            "endpoint": request.endpoint,
            "rule": request.rule,
            "environ": self._shown("environ", environ),
            "headers": self._shown("headers", headers),
            "body": HIDDEN if body is not None and "body" in self.hidden else body,
        }

    def _shown(self, kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: HIDDEN if dotted(kind, name) in self.hidden else value for name, value in values.items()
        }

    def decoded(
        self, kind: Literal["g", "session"], decode: Callable[[Primitive, str], Any] = codec.decode
    ) -> dict[str, Any]:
        """The values of *kind*, decoded: a copy of the caller's own.

        Args:
            kind: Which ones.
            decode: Takes an encoded value and its path.

        Raises:
            DecodeError: One cannot be decoded; of a hidden value the message tells no more than that.
        """
        values: Mapping[str, Primitive] = getattr(self, kind) or {}
        decoded = {}
        for name, value in values.items():
            if type(value) is str and value.isascii():  # most values are, and stand for themselves
                decoded[name] = value
                continue
            path = f"g.{name}" if kind == "g" else f"{kind}[{name!r}]"
            try:
                decoded[name] = decode(value, path)
            except DecodeError:
                if dotted(kind, name) not in self.hidden:
                    raise
                raise DecodeError(path, "why is not shown, because the value is hidden") from None
        return decoded

    def to_primitive(self) -> dict[str, Primitive]:
        """This snapshot as plain JSON-shaped values; the inverse of :meth:`from_primitive`."""
        out: dict[str, Any] = {"v": WIRE_VERSION, "app": self.app_id, "trigger": self.trigger}
        if lineage := self.lineage.to_primitive():
            out["lineage"] = lineage
        if request := self.request:
            out["request"] = _write_request(request)
        if self.session is not None:
            out["session"] = dict(self.session)
        if self.left_out:
            out["left_out"] = {kind: list(names) for kind, names in self.left_out.items()}
        for name in _MAPPINGS:
            if values := getattr(self, name):
                out[name] = dict(values)
        for name in _LISTS:
            if listed := getattr(self, name):
                out[name] = list(listed)
        return out

    def to_bytes(self, limit_bytes: int) -> bytes:
        """This snapshot as JSON.

        Raises:
            SnapshotTooLargeError: It takes more than *limit_bytes*; names the largest value.
        """
        data = _write(
            _Wire(
                self.app_id,
                self.trigger,
                self.lineage.to_primitive(),
                None if self.request is None else _write_request(self.request),
                self.session,
                self.left_out,
                self.g,
                self.skipped,
                self.propagators,
                self.cleared,
                self.overrides,
                self.system,
                self.hidden,
            )
        )
        if len(data) > limit_bytes:
            raise SnapshotTooLargeError(len(data), limit_bytes, _largest(self.to_primitive()))
        return data

    @classmethod
    def from_primitive(cls, data: Primitive) -> Snapshot:
        """Read what :meth:`to_primitive` wrote.

        Raises:
            DecodeError: *data* has another shape or another version.
        """
        try:
            return cls._read(data)  # type: ignore[arg-type]  # its shape is what the except clause checks
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise DecodeError("snapshot", f"not the shape that ctxjobs writes ({exc})") from exc

    @classmethod
    def _read(cls, data: dict[str, Any]) -> Snapshot:
        if data["v"] != WIRE_VERSION:
            raise ValueError(f"version {data['v']!r}, this release reads {WIRE_VERSION}")
        if data["trigger"] not in _TRIGGERS:
            raise ValueError(f"trigger {data['trigger']!r}")
        session = data.get("session")
        return cls(
            app_id=data["app"],
            trigger=data["trigger"],
            lineage=_read_lineage(data.get("lineage", ())),
            request=_read_request(data.get("request")),
            session=None if session is None else dict(session),
            g=dict(data.get("g", {})),
            skipped=dict(data.get("skipped", {})),
            propagators=dict(data.get("propagators", {})),
            left_out={kind: _read_names(names) for kind, names in data.get("left_out", {}).items()},
            cleared=_read_names(data.get("cleared", ())),
            overrides=_read_names(data.get("overrides", ())),
            system=_read_names(data.get("system", ())),
            hidden=_read_names(data.get("hidden", ())),
        )


class _Wire(msgspec.Struct, omit_defaults=True, tag_field="v", tag=WIRE_VERSION):
    """What :meth:`Snapshot.to_primitive` makes a dict of: written in one go, in half of the time."""

    app: str
    trigger: Trigger
    lineage: Any = []
    request: Any = None
    session: Any = None
    left_out: Any = {}
    g: Any = {}
    skipped: Any = {}
    propagators: Any = {}
    cleared: Any = ()
    overrides: Any = ()
    system: Any = ()
    hidden: Any = ()


_write: Final = msgspec.json.Encoder().encode


def _write_request(request: RequestData) -> list[Any]:
    body = request.body
    return [
        request.environ,
        request.endpoint,
        request.rule,
        None if body is None else codec.encode(body, "request.body"),
    ]


def _read_request(data: list[Any] | None) -> RequestData | None:
    if data is None:
        return None
    environ, endpoint, rule, body = data
    return RequestData(dict(environ), endpoint, rule, codec.decode(body, "request.body"))


def _read_lineage(data: Iterable[Any]) -> Lineage:
    lineage = Lineage(*data)
    ids = (lineage.root, lineage.parent, lineage.request)
    if type(lineage.hop) is not int or not all(one is None or type(one) is str for one in ids):
        raise ValueError(f"lineage {lineage!r}")
    return lineage


def _read_names(names: Iterable[Any]) -> tuple[str, ...]:
    if names == ():
        return ()
    if not all(type(name) is str for name in names):
        raise ValueError(f"names {names!r}")
    return tuple(names)


def _largest(primitive: Mapping[str, Any]) -> str:
    """Name of the largest value, as a person would look for it."""
    sizes = {f"g.{name}": value for name, value in primitive.get("g", {}).items()}
    sizes.update({f"session[{name!r}]": value for name, value in (primitive.get("session") or {}).items()})
    sizes.update({f"propagators.{name}": value for name, value in primitive.get("propagators", {}).items()})
    if request := primitive.get("request"):
        sizes["request.body"] = request[3]
        sizes.update({f"request.environ[{name!r}]": value for name, value in request[0].items()})
    return max(sizes, key=lambda name: len(codec.dumps(sizes[name])), default="the request")
