"""Reads the layouts of records out of the code that packs them, and writes them as tables of Markdown."""

# ruff: noqa: INP001 - a part of a program beside the pages that it writes

from __future__ import annotations

import ast
import importlib
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final

DAEMONS: Final = Path(__file__).resolve().parents[2] / "daemons"

_TYPES: Final = {"Q": "u8", "q": "i8", "I": "u4", "i": "i4", "H": "u2", "h": "i2", "B": "u1", "b": "i1"}
_SAID: Final = {
    "_checksum(blank)": "checksum",
    "_GAP * gap + _WEATHER_STALE * weather_stale": "flags",
    "KIND_OFFERS": "kind",
    "len(offers)": "offers",
    "slot & 4294967295": "slot_low",
    "slot >> 32": "slot_high",
}
"""Expressions for which a page has a better word."""
_MEANT: Final = {"slot_low": "the slot's low 32 bits", "slot_high": "the slot's bits 32 to 47"}
FIELDS: Final = ("offset", "type", "field", "meaning")
_WIDTHS: Final = {"s": 1, "x": 1} | {code: int(name[1]) for code, name in _TYPES.items()}


class Source:
    """A module, and what its source says beside it."""

    def __init__(self, name: str) -> None:
        self.names: dict[str, Any] = vars(importlib.import_module(f"energymarket.{name}"))
        self.path = f"{name.replace('.', '/')}.py"
        text = (DAEMONS / "energymarket" / self.path).read_text()
        self.lines = text.splitlines()
        self.tree = ast.parse(text)

    def intro(self) -> str:
        """The first paragraph of the module's docstring."""
        return " ".join((ast.get_docstring(self.tree) or "").split("\n\n")[0].split())

    def remarks(self, name: str) -> dict[str, str]:
        """Field -> comment at the end of its line, within one class or one assignment."""
        node = self._node(name)
        group, found = "", {}
        for line in self.lines[node.lineno - 1 : node.end_lineno]:
            if heading := re.match(r"\s*#\s(.+)$", line):
                group = heading[1]  # a comment on a line of its own is about the fields below it
            elif field := re.match(r'\s*\(?"?(\w+)"?\s*[,:=](?:.*?\s#\s(.+))?', line):
                found[field[1]] = field[2] or group
        return {name: text for name, text in found.items() if text}

    def note(self, name: str) -> str:
        """The string that stands behind an assignment, or a class's docstring."""
        node = self._node(name)
        if isinstance(node, ast.ClassDef):
            return " ".join((ast.get_docstring(node) or "").split())
        follower = self.tree.body[self.tree.body.index(node) + 1 :][:1]
        if follower and isinstance(follower[0], ast.Expr) and isinstance(follower[0].value, ast.Constant):
            return " ".join(str(follower[0].value.value).split())
        return ""

    def packed_by(self, name: str) -> list[str]:
        """The arguments with which a layout is packed, as the source has them; of the last such call."""
        calls: list[tuple[ast.FunctionDef, ast.Call]] = []
        for function in (node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)):
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                asked = call.func
                packs = isinstance(asked, ast.Attribute) and asked.attr in {"pack", "pack_into"}
                if packs and ast.unparse(asked).startswith(f"{name}."):
                    calls.append((function, call))
        function, call = calls[-1]
        skipped = 2 if ast.unparse(call.func).endswith("pack_into") else 0
        return [text for each in call.args[skipped:] for text in _spread(function, each)]

    def _node(self, name: str) -> ast.stmt:
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return node
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
                return node
        raise LookupError(f"{self.path} has no {name}")


def _spread(function: ast.FunctionDef, argument: ast.expr) -> list[str]:
    """An argument's text; the parts of a starred tuple that the function has put together before."""
    if not isinstance(argument, ast.Starred):
        return [ast.unparse(argument)]
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == ast.unparse(argument.value):
            return (
                [ast.unparse(part) for part in node.value.elts] if isinstance(node.value, ast.Tuple) else []
            )
    return []


def struct_fields(layout: struct.Struct) -> Iterator[tuple[int, str]]:
    """(offset, type) of each field of a layout without alignment; padding is type `zero`."""
    at = 0
    for times, code in re.findall(r"(\d*)([a-zA-Z])", layout.format):
        if code in "sx":
            size = int(times or 1)
            yield at, f"{size} bytes" if code == "s" else f"{size} bytes, zero"
            at += size
            continue
        for _ in range(int(times or 1)):
            yield at, _TYPES[code]
            at += _WIDTHS[code]


# ---------------------------------------------------------------- writing tables


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of Markdown."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    cells = ([str(cell).replace("|", "\\|") for cell in row] for row in rows)
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in cells)]) + "\n"


def struct_table(
    source: Source, layout: str, remarks: dict[str, str], rest: Sequence[str] = (), names: Sequence[str] = ()
) -> str:
    """A layout, field by field. `rest` names what a generator packs at the end, `names` replaces all."""
    structure = source.names[layout]
    packed = [*(names or source.packed_by(layout)), *rest]
    rows = []
    for at, kind in struct_fields(structure):
        text = "" if kind.endswith("zero") else packed.pop(0)
        rows.append((at, kind, *_named(source, text, remarks)))
    if packed:
        raise LookupError(f"{source.path}: {layout} has no room for {packed}")
    intro = f"`{layout}` of `{source.path}`, `{structure.format}`, {structure.size} bytes:\n\n"
    return intro + table(FIELDS, rows)


def _named(source: Source, text: str, remarks: dict[str, str]) -> tuple[str, str]:
    """What a packed expression is called, and what it means."""
    short = re.sub(r"\b(?:self|page|head|opening|record)\.|\bshape\.", "", text)
    if re.fullmatch(r"_?[A-Z][A-Z_]*", short):
        value = source.names[short]
        shown = f"`{value!r}`" if isinstance(value, bytes) else f"{value:#x}" if value > 255 else str(value)
        return f"`{_SAID.get(short, short).strip('_').lower()}`", shown
    if short in {"", "0"}:
        return "", "0"
    words = re.findall(r"\w+", short)
    said = _SAID.get(short, words[-1])
    key = next((each for each in (said, *words) if each in remarks), said)
    return f"`{said}`", remarks.get(key, _MEANT.get(said, ""))


def dtype_table(source: Source, name: str) -> str:
    """A record that is a NumPy type."""
    kind, remarks = source.names[name], source.remarks(name)
    rows = [
        (kind.fields[field][1], kind.fields[field][0].str.lstrip("<|"), f"`{field}`", remarks.get(field, ""))
        for field in kind.names
    ]
    intro = f"`{name}` of `{source.path}`, {kind.itemsize} bytes. {source.note(name)}\n\n"
    return intro + table(FIELDS, rows)


def columns_table(source: Source, name: str) -> str:
    """A list of columns, each with its type if it has one of its own."""
    remarks, rows = source.remarks(name), []
    for column in source.names[name]:
        field, kind = (column, "i8") if isinstance(column, str) else (column[0], column[1].str.lstrip("<|"))
        rows.append((f"`{field}`", kind, remarks.get(field, "")))
    return f"`{name}` of `{source.path}`. {source.note(name)}\n\n" + table(
        ("column", "type", "meaning"), rows
    )


def enum_table(source: Source, name: str) -> str:
    """An enumeration."""
    remarks = source.remarks(name)
    kinds: type[Enum] = source.names[name]
    rows = [(each.value, each.name.lower(), remarks.get(each.name, "")) for each in kinds]
    return f"`{name}` of `{source.path}`. {source.note(name)}\n\n" + table(("value", "name", "meaning"), rows)


def first_line(path: Path) -> str:
    """The first paragraph of a module's docstring, as one line."""
    text = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0]
    return " ".join(text.split())
