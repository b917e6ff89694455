"""What became of a case: its figures, or why there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Value: TypeAlias = "int | float | str | None"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one case: a value per column of `columns.MEASURED`, or an error."""

    number: int
    values: Mapping[str, Value] = field(default_factory=dict)
    error: str = ""
    trace: str = ""  # of a bug

    @property
    def is_done(self) -> bool:
        """Whether it was played to its end."""
        return not self.error
