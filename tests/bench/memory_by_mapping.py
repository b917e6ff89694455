"""What a process's memory consists of: proportional set size by mapping, clean and dirty, in bytes per home.

    python tests/bench/memory_by_mapping.py --homes 1000000 PID [PID ...]

Read from `/proc/PID/smaps` of processes that run, as they are at that moment: the heap, other anonymous
memory, compiled columns, the state file, libraries. Needs the right to look at them.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

KIB: Final = 1024
KINDS: Final = (
    ("[heap]", "heap"),
    ("/compiled/", "compiled columns"),
    (".state", "state file"),
    (".so", "libraries"),
    ("memfd:", "memory files"),
    ("SYSV", "pages of the market"),
)
FIELDS: Final = ("Pss", "Pss_Dirty")


def kind_of(name: str) -> str:
    """A mapping's kind by its name."""
    return next((kind for part, kind in KINDS if part in name), "anonymous" if not name else "other files")


def by_kind(smaps: str) -> dict[str, dict[str, int]]:
    """Bytes by kind of mapping and by field, from the text of a smaps file."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(FIELDS, 0))
    kind = ""
    for line in smaps.splitlines():
        words = line.split()
        if not words[0].endswith(":"):  # the head of a mapping: addresses, rights, and perhaps a name
            kind = kind_of(" ".join(words[5:]))
        elif (field := words[0][:-1]) in FIELDS:
            found[kind][field] += int(words[1]) * KIB
    return dict(found)


def main() -> None:
    """Tell of each process."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--homes", type=int, default=1, help="of which these processes are the memory")
    parser.add_argument("pids", type=int, nargs="+", metavar="PID")
    words = parser.parse_args()
    for pid in words.pids:
        try:
            text = Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8")
            name = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError as error:
            sys.exit(f"process {pid}: {error.strerror}")
        kinds = by_kind(text)
        print(f"{pid} {name.strip()[-60:]}")
        for kind, sizes in sorted(kinds.items(), key=lambda each: -each[1]["Pss"]):
            pss, dirty = sizes["Pss"], sizes["Pss_Dirty"]
            print(
                f"    {kind:20} {pss / words.homes:10.1f} B per home, {dirty / words.homes:10.1f} of it dirty"
            )
        total = sum(sizes["Pss"] for sizes in kinds.values())
        print(f"    {'together':20} {total / words.homes:10.1f} B per home")


if __name__ == "__main__":
    main()
