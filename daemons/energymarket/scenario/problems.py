"""What is wrong with a scenario or configuration file, in the same words everywhere."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: where it is, what it is, what to do."""

    file: str
    line: int  # 0: of the file as a whole
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """One line: file:line: path: message (hint)."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        subject = f"{place}: {self.path}: " if self.path else f"{place}: "
        return subject + self.message + (f" ({self.hint})" if self.hint else "")


def render_problems(problems: Sequence[Problem]) -> str:
    """All problems by line, and their number: the words of `config check` and of the daemons."""
    count = f"{len(problems)} error" + ("" if len(problems) == 1 else "s")
    return "\n".join([*map(str, in_order(problems)), count])


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """By file, line and path."""
    return sorted(problems, key=lambda problem: (problem.file, problem.line, problem.path))


def path_text(path: Path) -> str:
    """A path as people write it: price.factor[0].alpha."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A suggestion, or ""."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else ""
