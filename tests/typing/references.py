"""What type checkers must know of ``register_model``. Read by mypy and pyright, never run."""

from __future__ import annotations

from typing_extensions import assert_type

from ctxjobs import register_model
from ctxjobs.references import ModelLoader


class Loader:
    def key_of(self, obj: object) -> int:
        return 1

    def load(self, key: int) -> object:
        return key


loader: ModelLoader = Loader()


@register_model(gone="none", loader=Loader())
class Decorated:
    pass


@register_model
class Bare:
    pass


assert_type(Decorated(), Decorated)
assert_type(Bare(), Bare)
register_model(Bare, gone="maybe")  # type: ignore[call-overload]
