"""Every exception that ctxjobs raises, with its message.

Lives on the ground floor: imports nothing else of ctxjobs, so that every file may raise from here.
The class says whose fault it is (:class:`CallerError`, :class:`StoredDataError`,
:class:`DeploymentError`); its fields hold the facts; its ``template`` turns them into three
parts: what happened, to which thing, what to do next.

Each class is a dataclass: a typed constructor, and facts that survive pickling (errors cross
process borders).
"""

from __future__ import annotations

from ctxjobs.errors.binding import (
    AppIdError,
    ConfigError,
    NoSecretKeyError,
    UnsupportedAppError,
)
from ctxjobs.errors.contexts import (
    ContextError,
    ContextPopError,
    SetupError,
    TeardownError,
    ViewResultError,
)
from ctxjobs.errors.deployment import (
    AppLoadError,
    ContextMismatchError,
    CronConfigError,
    EmbeddedRedisError,
    NoInlineRedisError,
    NoRedisServerError,
    PartlyEnqueuedError,
    RedisTooOldError,
    RedisUnavailableError,
)
from ctxjobs.errors.jobs import (
    ArgumentsError,
    HopLimitError,
    JobDroppedError,
    LeakError,
    NoAuditError,
    NotAJobError,
    ProcessDiedError,
    UnboundJobError,
)
from ctxjobs.errors.misses import (
    NotCapturedAttributeError,
    NotCapturedError,
    NotCapturedFieldError,
    NotCapturedJSONError,
    NotCapturedKeyError,
)
from ctxjobs.errors.propagators import (
    PropagatorMissingError,
    UserGoneError,
    UserStaleError,
)
from ctxjobs.errors.references import (
    ReferenceGoneError,
    UnknownModelError,
)
from ctxjobs.errors.refusals import (
    BadSignatureError,
    EnvelopeExpiredError,
    EnvelopeMismatchError,
    JobRefusedError,
    PlainJobError,
    UnknownAppError,
    UnknownFunctionError,
    WireVersionError,
)
from ctxjobs.errors.root import (
    CallerError,
    CtxJobsError,
    DeploymentError,
    StoredDataError,
)
from ctxjobs.errors.values import (
    DecodeError,
    SnapshotTooLargeError,
    UnencodableValueError,
    ValueLimitError,
)

__all__ = [
    "AppIdError",
    "AppLoadError",
    "ArgumentsError",
    "BadSignatureError",
    "CallerError",
    "ConfigError",
    "ContextError",
    "ContextMismatchError",
    "ContextPopError",
    "CronConfigError",
    "CtxJobsError",
    "DecodeError",
    "DeploymentError",
    "EmbeddedRedisError",
    "EnvelopeExpiredError",
    "EnvelopeMismatchError",
    "HopLimitError",
    "JobDroppedError",
    "JobRefusedError",
    "LeakError",
    "NoAuditError",
    "NoInlineRedisError",
    "NoRedisServerError",
    "NoSecretKeyError",
    "NotAJobError",
    "NotCapturedAttributeError",
    "NotCapturedError",
    "NotCapturedFieldError",
    "NotCapturedJSONError",
    "NotCapturedKeyError",
    "PartlyEnqueuedError",
    "PlainJobError",
    "ProcessDiedError",
    "PropagatorMissingError",
    "RedisTooOldError",
    "RedisUnavailableError",
    "ReferenceGoneError",
    "SetupError",
    "SnapshotTooLargeError",
    "StoredDataError",
    "TeardownError",
    "UnboundJobError",
    "UnencodableValueError",
    "UnknownAppError",
    "UnknownFunctionError",
    "UnknownModelError",
    "UnsupportedAppError",
    "UserGoneError",
    "UserStaleError",
    "ValueLimitError",
    "ViewResultError",
    "WireVersionError",
]

# Tracebacks and reprs show the name to import an error by, not the file that it stands in.
for _name in __all__:
    globals()[_name].__module__ = __name__
