"""What the checker knows of the target of a `_target_`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lit_mlfund.config.type_hints import Hint


class TargetError(LookupError):
    """A `_target_` that leads nowhere; the message reads after the path of the node."""


@dataclass(frozen=True)
class Target:
    """A class or function that a node can build.

    parameters  name -> type hint, of all that can be given by keyword
    required    the parameters without a default
    open        it takes any keyword (`**kwargs`)
    attributes  literal class attributes: `tasks`, `inputs`, `metrics`, …
    """

    path: str
    parameters: dict[str, Hint]
    required: frozenset[str] = frozenset()
    open: bool = False
    attributes: dict[str, Any] = field(default_factory=dict)
