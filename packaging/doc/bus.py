"""Writes what the page of the event bus takes from its code: members, limits, frames, records, states."""

# ruff: noqa: INP001, SLF001 - a part of a program beside the pages that it writes; it looks inside

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import pairwise
from types import ModuleType
from typing import Any, Final

from layouts import DAEMONS, FIELDS, first_line, struct_fields, table

BUS: Final = DAEMONS / "event_bus"

_CLASSES: Final = {
    "Process": "process",
    "ProcessManager": "launcher",
    "Handle": "launcher",
    "Communicator": "communicator",
    "MailboxView": "communicator",
    "Barrier": "communicator",
    "Message": "message",
}
_TITLES: Final = {"MailboxView": "`communicator.mailbox`", "Handle": "`Handle`, what `add_process` answers"}


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"event_bus.{name}")


def _tree(name: str) -> ast.Module:
    return ast.parse((BUS / f"{name.replace('.', '/')}.py").read_text())


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _said(body: list[ast.stmt]) -> Iterator[tuple[str, str, str]]:
    """(name, value, the string behind it) of every assignment that has such a string."""
    for node, follower in pairwise(body):
        target = getattr(node, "target", None) or (node.targets[0] if isinstance(node, ast.Assign) else None)
        value = getattr(follower, "value", None)
        if target is not None and isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield ast.unparse(target), ast.unparse(node.value), _one_line(value.value)  # type: ignore[attr-defined]


# ---------------------------------------------------------------- the API


def _signature(name: str, member: Callable[..., Any], *, bound: bool = True) -> str:
    signature = inspect.signature(member)
    parameters = [each.replace(annotation=each.empty) for each in signature.parameters.values()][bound:]
    bare = signature.replace(parameters=parameters, return_annotation=signature.empty)
    return f"`{name}{bare}`".replace("/, ", "")


def _members(cls: type) -> Iterator[tuple[str, str]]:
    for name, member in vars(cls).items():
        if name.startswith("_") and name != "__len__":
            continue
        if isinstance(member, property):
            yield f"`.{name}`", _one_line(member.__doc__)
        elif name == "__len__":
            yield "`len()`", _one_line(member.__doc__)
        elif inspect.isfunction(member):
            yield _signature(name, member), _one_line(member.__doc__)


def _attributes(name: str) -> Iterator[tuple[str, str]]:
    """What a constructor leaves in public names."""
    tree = _tree(_CLASSES[name])
    cls = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    for node in ast.walk(cls):
        if isinstance(node, ast.Assign) and re.fullmatch(
            r"self\.[a-z]\w+", target := ast.unparse(node.targets[0])
        ):
            yield f"`.{target.removeprefix('self.')}`", _ATTRIBUTES[name, target.removeprefix("self.")]


_ATTRIBUTES: Final = {
    ("Handle", "name"): "The name of its seat.",
    ("Handle", "life"): "Unique for ever: a process that takes its place has another.",
    ("Communicator", "mailbox"): "The messages that have come, see below.",
}


def api() -> str:
    """Every public class with its members, and every error."""
    made = []
    for name, module in _CLASSES.items():
        cls = getattr(_module(module), name)
        said = inspect.cleandoc(cls.__doc__ or "")
        rows = [*_attributes(name), *((each, text) for each, text in _members(cls) if each != "`check()`")]
        title = _TITLES.get(name, f"`{name}`")
        if name in {"Process", "ProcessManager"}:
            title = _signature(name, cls, bound=False)
        if fields := getattr(cls, "_fields", ()):
            said += f"\n\nFields: {', '.join(f'`{field}`' for field in fields)}."
        made.append(f"### {title}\n\n{said}\n\n{table(('member', ''), [row for row in rows if row[1]])}")
    types = [(f"`{name}`", value, text) for name, value, text in _said(_tree("message").body)]
    made.append(f"### Types of messages\n\n{table(('constant', 'value', ''), types)}")
    made.append(f"### Errors\n\n{table(('error', 'is a', ''), _errors())}")
    return "\n".join(made)


def _errors() -> Iterator[tuple[str, str, str]]:
    errors = _module("errors")
    for name in (node.name for node in _tree("errors").body if isinstance(node, ast.ClassDef)):
        cls = getattr(errors, name)
        yield f"`{name}`", ", ".join(f"`{base.__name__}`" for base in cls.__bases__), _one_line(cls.__doc__)


def limits() -> str:
    """Every limit with its reason."""
    values = vars(_module("limits"))
    rows = [(f"`{name}`", f"{values[name]:,}", text) for name, _, text in _said(_tree("limits").body)]
    return table(("limit", "value", "what and why"), rows)


# ---------------------------------------------------------------- the protocol


def frames() -> str:
    """The header, field by field, and the kinds."""
    module = _module("protocol.frames")
    tree = _tree("protocol.frames")
    said = next(text for name, _, text in _said(tree.body) if name == "HEADER")
    names = [each.strip() for each in said.rstrip(".").split(",")]
    fields = list(struct_fields(module.HEADER))
    if len(names) != len(fields):
        raise LookupError(f"HEADER has {len(fields)} fields, and its note names {len(names)}")
    rows = [(at, kind, name, "") for (at, kind), name in zip(fields, names, strict=True)]
    kinds = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Kind")
    users = {kind.name for kind in module.USER_KINDS}
    meant = [(value, name, "yes" if name in users else "no", text) for name, value, text in _said(kinds.body)]
    return (
        f"{_one_line(ast.get_docstring(tree))}\n\n`{module.HEADER.format}`, {module.HEADER.size} bytes:\n\n"
        + table(FIELDS[:3], [row[:3] for row in rows])
        + "\n"
        + table(("kind", "name", "moves the clock", "meaning"), meant)
    )


def records() -> str:
    """Every record: who says it to whom, with which fields."""
    text = (BUS / "protocol/records.py").read_text()
    numbers = {cls.__name__: number for number, cls in enumerate(_module("protocol.records").RECORDS)}
    rows = []
    for node in ast.parse(text).body:
        if not isinstance(node, ast.ClassDef) or node.name not in numbers:
            continue
        comment = text.splitlines()[node.lineno - 1].partition("# ")[2]
        between, _, meaning = comment.partition(": ")
        if not comment:
            between, meaning = "keeper -> process", _one_line(ast.get_docstring(node))
        fields = [ast.unparse(each.target) for each in node.body if isinstance(each, ast.AnnAssign)]
        names = ", ".join(f"`{each}`" for each in fields)
        rows.append((numbers[node.name], f"`{node.name}`", between, names, meaning))
    return table(("number", "record", "from -> to", "fields", "meaning"), sorted(rows))


def ring() -> str:
    """The token as one process knows it: the table as a diagram, and what the states are."""
    module = _module("protocol.ring")
    lines = [
        f"    {place.name} --> {after.name}: {event.name}{f' / {act.name}' if act else ''}"
        for (place, event), (after, act) in module.TABLE.items()
        if (place, act) != (after, None)
    ]
    stays = sorted(
        f"{event.name} in {place.name}"
        for (place, event), (after, act) in module.TABLE.items()
        if (place, act) == (after, None)
    )
    kinds = {node.name: node for node in _tree("protocol.ring").body if isinstance(node, ast.ClassDef)}
    rows = [
        (f"`{name}`", "yes" if module.Place[name] in module.HOLDING else "",
         "yes" if module.Place[name] in module.WITHIN else "", text)
        for name, _, text in _said([*kinds["Place"].body])
    ]  # fmt: skip
    events = [(f"`{name}`", text) for each in ("Event", "Act") for name, _, text in _said(kinds[each].body)]
    return (
        _diagram(["    [*] --> OUT", *lines])
        + f"\nWithout effect: {', '.join(stays)}.\n\n"
        + table(("place", "holds the token", "inside", "meaning"), rows)
        + "\n"
        + table(("event or act", "meaning"), events)
    )


def token() -> str:
    """The token's life, in the words of the module that has it."""
    return (ast.get_docstring(_tree("protocol.ring")) or "").partition("\n\n")[2] + "\n"


def stages() -> str:
    """How far a life is, as the keeper has it: what its own code does with every order of events."""
    tree = _tree("protocol.keeper")
    stage = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Stage")
    rows = [(f"`{name}`", text) for name, _, text in _said(stage.body)]
    return _diagram(sorted(_explored())) + "\n" + table(("stage", "meaning"), rows)


def _explored() -> set[str]:
    """Every change of the stage of one of two lives of a batch, found by trying all events everywhere."""
    module, said = _module("protocol.keeper"), _module("protocol.records")
    one, other = 1, 2
    events: dict[str, Callable[[Any], None]] = {
        "it says Ready": lambda keeper: keeper.on_report(one, said.Ready(), 0.0),
        "the last of its batch says Ready": lambda keeper: keeper.on_report(other, said.Ready(), 0.0),
        "it says Failed": lambda keeper: keeper.on_report(one, said.Failed(""), 0.0),
        "another of its batch fails": lambda keeper: keeper.on_report(other, said.Failed(""), 0.0),
        "it says Leave": lambda keeper: keeper.on_report(one, said.Leave(), 0.0),
        "it dies": lambda keeper: keeper.on_death(one),
    }
    failures = {"it says Failed": one, "another of its batch fails": other}
    first = module.Keeper()
    for life in (one, other):
        first.on_join(said.Join(life, str(life), life, 1, 2), 0.0)
    found = {"    [*] --> STARTING: it was forked"}
    waiting, seen = [first], set()
    while waiting:
        keeper = waiting.pop()
        for title, event in events.items():
            after = deepcopy(keeper)
            before = after._lives[one].stage.name
            if title in failures and after._lives[failures[title]].stage.name != "STARTING":
                continue  # a constructor that has returned does not raise
            event(after)
            stage = after._lives[one].stage.name if one in after._lives else "[*]"
            last = ", the last of its batch" if (before, stage) == ("STARTING", "LIVING") else ""
            if stage != before:
                found.add(f"    {before} --> {stage}: {title}{last}")
            state = tuple((life, each.stage) for life, each in sorted(after._lives.items()))
            if one in after._lives and state not in seen:
                seen.add(state)
                waiting.append(after)
    return found


def _diagram(lines: list[str]) -> str:
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```", ""])


def layers() -> str:
    """Every file with its first line."""
    rows = []
    for path in sorted(BUS.rglob("*.py")):
        place = path.relative_to(BUS)
        if path.name != "__init__.py":
            rows.append((f"`{place}`", first_line(path)))
    return table(("file", ""), rows)


PARTS: Final[dict[str, Callable[[], str]]] = {
    "bus api": api,
    "bus frames": frames,
    "bus layers": layers,
    "bus limits": limits,
    "bus records": records,
    "bus ring": ring,
    "bus stages": stages,
    "bus token": token,
}
