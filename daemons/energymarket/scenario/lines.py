"""In which line of a TOML text each key stands; tomllib does not tell."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from energymarket.scenario.problems import Path

_TOKEN: Final = re.compile(
    r'(?P<text>"""(?:\\.|[^\\])*?"""+|\'\'\'.*?\'\'\'+|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\')'
    r"|(?P<comment>\#[^\n]*)|(?P<end>\n)|(?P<open>[\[{])|(?P<close>[\]}])|(?P<equals>=)"
    r"|(?P<bare>[A-Za-z0-9_-]+)|(?P<rest>.)",
    re.DOTALL,
)


class _Scanner:
    """Walks the tokens of a text that tomllib has accepted, and notes keys with their lines."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {(): 1}
        self._arrays: dict[Path, int] = {}  # array of tables -> index of its last table
        self._prefix: Path = ()
        self._tokens: list[tuple[str, str, int]] = []
        line = 1
        for match in _TOKEN.finditer(text):
            found = match.group()
            if not found.isspace() or found == "\n":
                self._tokens.append((match.lastgroup or "rest", found, line))
            line += found.count("\n")
        self._at = 0

    def scan(self) -> dict[Path, int]:
        while self._at < len(self._tokens):
            kind, _, line = self._tokens[self._at]
            if kind in ("end", "comment"):
                self._at += 1
            elif kind == "open":
                self._header(line)
            else:
                path = self._prefix
                for part in self._key("equals"):
                    path = self._into((*path, part))
                    self.lines.setdefault(path, line)
                self._skip_value(path)
        return self.lines

    def _header(self, line: int) -> None:
        self._at += 1
        array = self._tokens[self._at][0] == "open"
        self._at += array
        parts = self._key("close")
        self._at += array
        path: Path = ()
        for part in parts[:-1]:
            path = self._into((*path, part))
            self.lines.setdefault(path, line)
        path = (*path, parts[-1])
        if array:
            self.lines.setdefault(path, line)
            self._arrays[path] = self._arrays.get(path, -1) + 1
            path = (*path, self._arrays[path])
        self.lines[path] = line
        self._prefix = path

    def _into(self, path: Path) -> Path:
        return (*path, self._arrays[path]) if path in self._arrays else path

    def _key(self, end: str) -> list[str]:
        parts = []
        while self._at < len(self._tokens) and self._tokens[self._at][0] != end:
            kind, found, _ = self._tokens[self._at]
            if kind == "bare":
                parts.append(found)
            elif kind == "text":
                parts.append(json.loads(found, strict=False) if found[0] == '"' else found[1:-1])
            self._at += 1
        self._at += 1
        return parts or [""]

    def _skip_value(self, path: Path) -> None:
        """Pass a value; keys of inline tables at the first level are noted with their own line."""
        depth = 0
        while self._at < len(self._tokens):
            kind, found, line = self._tokens[self._at]
            depth += (kind == "open") - (kind == "close")
            if kind == "bare" and depth == 1 and self._at + 1 < len(self._tokens):
                if self._tokens[self._at + 1][0] == "equals":
                    self.lines.setdefault((*path, found), line)
            elif kind == "end" and depth <= 0:
                return
            self._at += 1


def key_lines(text: str) -> dict[Path, int]:
    """Path of each table and key -> its line; tables of arrays by their index."""
    return _Scanner(text).scan()


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of a path, or of what surrounds it most closely."""
    while path not in lines:
        path = path[:-1]
    return lines[path]
