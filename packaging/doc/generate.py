"""Writes what the documents take from the code: the protocol page, and marked parts of others.

    python packaging/doc/generate.py           writes them
    python packaging/doc/generate.py --check   exit 1 if one of them is not what the code says now

Offsets and types come from the layouts, names from the calls that pack them, meanings from the comments
beside the fields. A part of a hand-written page stands between `<!-- generated: NAME -->` and
`<!-- end -->`.
"""

# ruff: noqa: INP001, T201 - a program beside the pages that it writes

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import bus
import protocol
import study
from layouts import (
    DAEMONS,
    Source,
    first_line,
    table,
)

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]


def plugin_codes() -> str:
    """The table of the exit codes of `energyctl check`."""
    codes = Source("exits").names["Plugin"]
    return table(("code", "name", "meaning"), [(int(each), each.name, each.meaning) for each in codes])


def keys() -> str:
    """The default configuration with the meaning of every key."""
    return f"```toml\n{Source('scenario.toml').names['default_text']().strip()}\n```\n"


def rooms() -> str:
    """Every file with its first line, by room."""
    made = []
    for base, title in ((DAEMONS / "energymarket", "energymarket"), (ROOT / "ctl/energyctl", "energyctl")):
        folders = sorted({path.parent for path in base.rglob("*.py")})
        for folder in folders:
            rows = [
                (f"`{path.name}`", first_line(path))
                for path in sorted(folder.glob("*.py"))
                if path.name != "__init__.py"
            ]
            place = "/".join((title, *folder.relative_to(base).parts))
            made.append(f"**{place}/** {first_line(folder / '__init__.py')}\n\n{table(('file', ''), rows)}")
    return "\n".join(made)


def compaction() -> str:
    """The rule by which the ledger loses detail, in the words of the module that keeps it."""
    return (ast.get_docstring(Source("market.retention").tree) or "").partition("\n\n")[2] + "\n"


def indicators() -> str:
    """Every name of the document of indicators, by where it stands, with its definition and source."""
    made = []
    for place, definitions in Source("core.kpi.definitions").names["SECTIONS"].items():
        rows = [(f"`{each.name}`", each.meaning, each.source) for each in definitions]
        made.append(f"### `{place}`\n\n{table(('name', 'meaning', 'source'), rows)}")
    return "\n".join(made)


def shares() -> str:
    """How self-sufficiency and self-consumption are defined, in the words of the module that has them."""
    text = ast.get_docstring(Source("core.kpi.sufficiency").tree) or ""
    return text.partition("\n\n")[2] + "\n"


def rules_of_spread() -> str:
    """Who is worse off, and Jain's index, in the words of the functions."""
    tree = Source("core.kpi.spread").tree
    texts = {
        each.name: ast.get_docstring(each) or "" for each in tree.body if isinstance(each, ast.FunctionDef)
    }
    return "\n".join(f"**`{name}`**: {texts[name]}\n" for name in ("worse_off", "jain", "quantiles"))


PARTS: Final[dict[str, Callable[[], str]]] = (
    {
        "compaction": compaction,
        "exit codes": protocol.exit_codes,
        "indicators": indicators,
        "keys": keys,
        "plugin codes": plugin_codes,
        "rooms": rooms,
        "rules of spread": rules_of_spread,
        "shares": shares,
    }
    | bus.PARTS
    | study.PARTS
)


def with_parts(text: str) -> str:
    """A page with its generated parts made anew."""

    def fill(match: re.Match[str]) -> str:
        return f"<!-- generated: {match[1]} -->\n\n{PARTS[match[1]]().rstrip()}\n\n<!-- end -->"

    return re.sub(r"<!-- generated: ([\w ]+) -->.*?<!-- end -->", fill, text, flags=re.DOTALL)


def pages() -> dict[Path, str]:
    """Every page that is generated or has generated parts, as it should be."""
    made = {path: with_parts(path.read_text()) for path in sorted(HERE.glob("*.md"))}
    return {path: text for path, text in made.items() if "<!-- generated:" in text} | {
        HERE / "protocol.md": protocol.page()
    }


def main(words: Sequence[str]) -> int:
    """Write or check; the answer is an exit code."""
    if list(words) not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    sys.path.insert(0, str(DAEMONS))
    made = pages()
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    if words:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what the code says: python packaging/doc/generate.py")
        return 1 if stale else 0
    for path in stale:
        path.write_text(made[path])
        print(f"{path.relative_to(ROOT)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
