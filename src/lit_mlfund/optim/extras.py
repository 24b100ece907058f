"""Declares optional libraries that optimizers need and settings that they do not support."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class MissingExtraError(ImportError, ValueError):
    """Signals that a required library is not installed; the message names the remedy, such as an extra."""


def needs(module: str, extra: str) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Make a function raise `MissingExtraError` if `module` cannot be imported.

    Configurations are checked against this decorator by reading the source, before anything is imported: pass string
    literals.
    """

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @wraps(function)
        def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            try:
                import_module(module)
            except ImportError as error:
                raise MissingExtraError(
                    f"{function.__name__} needs {module} ({error}); install it with: pip install 'lit_mlfund[{extra}]'"
                ) from error
            return function(*args, **kwargs)

        return wrapper

    return decorate


def not_with(*others: str) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Mark an optimizer as incompatible with `others`, such as the strategy `fsdp`; read from source like `needs`."""
    return lambda function: function
