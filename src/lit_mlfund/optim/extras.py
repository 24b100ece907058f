"""What only some optimizers need, or cannot work with."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class MissingExtraError(ImportError, ValueError):
    """A configuration asks for something whose library is not installed; the message names the extra."""


def needs(module: str, extra: str) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Let a function raise `MissingExtraError` where `module` cannot be imported.

    A configuration is held against this mark before anything is imported, by its source: give it literal text.
    """

    def mark(make: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @wraps(make)
        def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            try:
                import_module(module)
            except ImportError as error:
                raise MissingExtraError(
                    f"{make.__name__} needs {module} ({error}); install it with: pip install 'lit_mlfund[{extra}]'"
                ) from error
            return make(*args, **kwargs)

        return checked

    return mark


def not_with(*others: str) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Mark a function whose optimizer does not work with `others`, such as the strategy `fsdp`; read like `needs`."""
    return lambda make: make
