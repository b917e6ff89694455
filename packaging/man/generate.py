r"""Writes what the manual and the completion say that code says better, so that neither drifts away from it.

    python packaging/man/generate.py           write what has changed
    python packaging/man/generate.py --check   exit 1 if one of them is not what the code says now

A page is written by hand but for what stands between `.\" generated: NAME` and `.\" end`.
"""

# ruff: noqa: INP001, T201 - a program beside the pages that it writes

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import bash_completion
import command_line
import fish_completion
import keys
import tables
import zsh_completion

from energyctl.verbs.completion import FILES, Shell

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
COMPLETION: Final = ROOT / "ctl/energyctl/completion"

PARTS: Final[dict[str, Callable[[], list[str]]]] = {
    "everywhere": tables.everywhere,
    "exit codes": tables.exit_codes,
    "fields": tables.fields,
    "findings": tables.findings,
    "keys": keys.sections,
    "occasions": tables.occasions,
    "study keys": keys.study,
    "units": tables.units,
    "verbs": tables.verbs,
}
"""What a page may ask for; beside these `synopsis MODULE`, `options MODULE`, and `exits CODE CODE ..`."""
SHELLS: Final = {
    Shell.BASH: bash_completion.text,
    Shell.ZSH: zsh_completion.text,
    Shell.FISH: fish_completion.text,
}


def part(name: str) -> list[str]:
    """The lines of one generated part."""
    what, _, of = name.partition(" ")
    match what:
        case "synopsis" | "options":
            return tables.program(of)[what == "options"]
        case "exits":
            return tables.exit_codes([int(code) for code in of.split()])
        case _:
            return PARTS[name]()


def with_parts(text: str) -> str:
    """A page with its generated parts made anew."""

    def fill(match: re.Match[str]) -> str:
        return "\n".join([f'.\\" generated: {match[1]}', *part(match[1]), '.\\" end'])

    return re.sub(r'^\.\\" generated: ([\w. ]+)$.*?^\.\\" end$', fill, text, flags=re.DOTALL | re.MULTILINE)


def written() -> dict[Path, str]:
    """Every page, and the completion of every shell, as it should be."""
    pages = {path: with_parts(path.read_text()) for path in sorted(HERE.glob("*.[1-8]"))}
    verbs = command_line.energyctl()
    return pages | {COMPLETION / FILES[shell]: write(verbs) for shell, write in SHELLS.items()}


def main(words: Sequence[str]) -> int:
    """Write or check; the answer is an exit code."""
    if list(words) not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    made = written()
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    if words:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what the code says: python packaging/man/generate.py")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(made[path])
        print(f"{path.relative_to(ROOT)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
