"""Every error: it crosses process borders, and its message has three parts."""

from __future__ import annotations

import pickle
from dataclasses import fields
from typing import Any

import pytest

from ctxjobs import errors
from ctxjobs.errors import CallerError, CtxJobsError, DeploymentError, StoredDataError

GROUPS = (CallerError, StoredDataError, DeploymentError)
CLASSES = [
    cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, CtxJobsError) and cls not in (CtxJobsError, *GROUPS)
]
#: Whoever raises these writes the whole message, or the part of it that says what to do.
WRITTEN_BY_THE_CALLER = {
    "ContextError", "ContextPopError", "TeardownError", "SetupError", "ConfigError", "NoSecretKeyError",
    "AppIdError",
}  # fmt: skip


def example(cls: type[CtxJobsError]) -> CtxJobsError:
    values: dict[str, Any] = {"errors": (ValueError("x"),)}
    facts = {
        field.name: values.get(field.name, 7 if field.type == "int" else f"<{field.name}>")
        for field in fields(cls)
    }
    return cls(**facts)


every_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


@every_class
def test_it_says_whose_fault_it_is(cls: type[CtxJobsError]) -> None:
    """Each error belongs to one of three groups."""
    assert sum(issubclass(cls, group) for group in GROUPS) == 1


@every_class
def test_it_survives_pickling(cls: type[CtxJobsError]) -> None:
    """What comes back has the same class, message and facts."""
    error = example(cls)
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back)) == (cls, str(error))
    assert [repr(getattr(back, field.name)) for field in fields(cls)] == [
        repr(getattr(error, field.name)) for field in fields(cls)
    ]


@every_class
def test_its_message_tells_every_fact(cls: type[CtxJobsError]) -> None:
    """No fact is kept from the reader."""
    text = str(example(cls))
    names = [field.name for field in fields(cls) if field.name != "errors"]
    missing = [name for name in names if f"<{name}>" not in text and "7" not in text]
    assert missing == []


@every_class
def test_its_message_ends_with_what_to_do(cls: type[CtxJobsError]) -> None:
    """What happened and to which thing is followed by a sentence about what to do next."""
    template = cls.template
    if cls.__name__ in WRITTEN_BY_THE_CALLER:
        assert template in ("{message}", "{key}: {reason}")
    elif "{last_lines}" in template:
        assert ". " in template
    else:
        assert template.rstrip().endswith((".", "{advice}"))
        assert template.count(". ") + template.count(".\n") + template.count("\n") >= 1


def test_an_error_can_be_raised_from_another() -> None:
    """Errors are ordinary exceptions: cause, notes and traceback work."""
    with pytest.raises(CtxJobsError) as caught:
        raise example(errors.AppLoadError) from ValueError("x")
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.ContextError, RuntimeError),
        (errors.ContextPopError, AssertionError),
        (errors.UnencodableValueError, TypeError),
        (errors.ValueLimitError, ValueError),
        (errors.NotAJobError, TypeError),
        (errors.UnboundJobError, RuntimeError),
        (errors.RedisUnavailableError, ConnectionError),
        (errors.HopLimitError, RecursionError),
    ],
)
def test_it_is_caught_by_who_catches_the_builtin(cls: type[CtxJobsError], builtin: type[Exception]) -> None:
    """Code that knows nothing of ctxjobs catches what it would expect."""
    assert issubclass(cls, builtin)
