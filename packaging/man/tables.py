"""The generated parts of the pages: each function answers the lines of one, read from the code."""

# ruff: noqa: INP001 - a part of a program beside the pages that it writes

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import command_line
import mdoc
from command_line import Command, Option

from energymarket.audit.findings import Kind
from energymarket.exits import Exit
from energymarket.runtime.occasions import Occasion

ROOT: Final = Path(__file__).resolve().parents[2]
_FIELDS: Final = {
    "CAUSE": "why, in words",
    "COMPONENT": "the unit without its kind: `energy-market`, `energy-homes` and so on",
    "EVENT": "the kind of an event",
    "HOME": "the number of a single home",
    "HOMES": "a range of homes of the pool, as `first:count`",
    "METER": "the id of a meter",
    "PID": "the process that it is about",
    "REASON": "the name of a refusal",
    "RECORD": "the file with the evidence of a failure",
    "SETTING": "the coefficients that a reload has changed",
    "SLOT": "the slot that it is about",
    "UID": "the user who raised or cleared an event",
    "UNIT": "the unit that has failed",
}
"""Fields of the journal, by the name behind ENERGY_. What the code sends and is not here is an error."""


def exit_codes(wanted: Sequence[int] = tuple(Exit)) -> list[str]:
    """Every exit code, or some of them."""
    return mdoc.tags(
        ((str(int(each)), mdoc.sentence(each.meaning)) for each in map(Exit, wanted)), width="xxxx"
    )


# ---------------------------------------------------------------- energyctl


def everywhere() -> list[str]:
    """The options that hold before and after every verb."""
    return mdoc.tags(map(_option, command_line.energyctl().options))


def verbs() -> list[str]:
    """Every verb with its arguments and options."""
    return mdoc.tags(_verb(each) for verb in command_line.energyctl().commands for each in verb.leaves())


def _verb(command: Command) -> mdoc.Item:
    head = [f"Ic {mdoc.escaped(command.words)}"]
    if command.options:
        head.append("Oo Ar options Oc")
    for each in command.arguments:
        shown = f"Ar {_placeholder(each)}"
        head.append(shown if each.required else f"Oo {shown} Oc")
    below = []
    for at, paragraph in enumerate(command.help):
        below += [*([".Pp"] if at else []), *mdoc.text(paragraph)]
    inner = [_argument(each) for each in command.arguments] + [_option(each) for each in command.options]
    below += [".Pp", *mdoc.tags(inner, compact=True)] if inner else []
    return " ".join(head), below


def _placeholder(option: Option) -> str:
    word = option.value.placeholder if option.value else ""
    return mdoc.argument(word) + (" ..." if option.many else "")


def _argument(option: Option) -> mdoc.Item:
    return f"Ar {_placeholder(option)}", [*mdoc.sentence(option.help), *_takes(option)]


def _option(option: Option) -> mdoc.Item:
    names = " , ".join(mdoc.flag(name) for name in option.names)
    head = f"{names} Ar {_placeholder(option)}" if option.value else names
    return head, [*mdoc.sentence(option.help), *_takes(option)]


def _takes(option: Option) -> list[str]:
    """Choices, bounds and default of a value, where the help does not say them."""
    value = option.value
    if value is None:
        return []
    told = "|".join(value.choices) == value.placeholder
    said = [f"One of {', '.join(value.choices)}."] if value.choices and not told else []
    said += [f"{value.bounds.capitalize()}."] if value.bounds and option.names else []
    shown = value.default and not (value.default == "{}" or value.default in option.help)
    said += [f"Default: `{value.default}`."] if shown else []
    return [line for each in said for line in mdoc.text(each)]


# ---------------------------------------------------------------- the other programs


def program(module: str) -> tuple[list[str], list[str]]:
    """Synopsis and options of a program."""
    parser = command_line.parser_of(module)
    verbs_of = next((each for each in parser._actions if each.dest == "verb" and each.choices), None)  # noqa: SLF001 - argparse has no public way
    if verbs_of is not None and isinstance(verbs_of.choices, dict):
        shown = [(name, inner) for name, inner in verbs_of.choices.items()]
        helps = {each.dest: each.help or "" for each in verbs_of._get_subactions()}  # noqa: SLF001 - likewise
        items = [
            (f"Ic {name}", [*mdoc.sentence(helps[name]), *mdoc.tags(_actions(inner), compact=True)])
            for name, inner in shown
        ]
        return [line for name, inner in shown for line in _synopsis(inner, name)], mdoc.tags(items)
    return _synopsis(parser), mdoc.tags(_actions(parser))


def _shown(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to ask
        if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction):  # noqa: SLF001
            yield action


def _synopsis(parser: argparse.ArgumentParser, verb: str = "") -> list[str]:
    lines = [".Nm", *([f".Cm {verb}"] if verb else [])]
    for action in _shown(parser):
        words = _words(action, short=True)
        lines.append(f".{words}" if action.required else f".Op {words}")
    return lines


def _actions(parser: argparse.ArgumentParser) -> Iterator[mdoc.Item]:
    for action in _shown(parser):
        default = action.default if action.option_strings else None
        if not action.help:
            raise LookupError(f"{parser.prog}: {action.dest} has no word of help")
        said = [*mdoc.sentence(action.help)]
        said += [f"One of {', '.join(map(str, action.choices))}."] if action.choices else []
        unsaid = str(default) not in action.help and "(default" not in action.help
        known = default not in {None, False, argparse.SUPPRESS} and unsaid
        said += [f"Default: {default}."] if known else []
        yield _words(action), said


def _words(action: argparse.Action, *, short: bool = False) -> str:
    value = action.metavar or ("" if action.nargs == 0 else action.dest.upper())
    more = " ..." if action.nargs in {"+", "*"} else ""
    shown = f"Ar {mdoc.argument(str(value))}{more}" if value else ""
    names = action.option_strings[:1] if short else action.option_strings
    return " ".join(part for part in (" , ".join(map(mdoc.flag, names)), shown) if part)


# ---------------------------------------------------------------- units, journal


def units() -> list[str]:
    """Every unit, its user and what it is."""
    items = []
    for path in sorted((ROOT / "systemd/system").glob("energy*.*")):
        if not path.is_file():
            continue
        found = dict(line.partition("=")[::2] for line in path.read_text().splitlines() if "=" in line)
        user = [f"User `{found['User']}`."] if "User" in found else []
        waits = (
            [f"Only if there is `{found['ConditionPathExists']}`."] if "ConditionPathExists" in found else []
        )
        said = [f"{found['Description']}.".removeprefix("Energy market, ").replace("%i", "ID"), *user, *waits]
        items.append(
            (f"Pa {mdoc.escaped(path.name)}", [line for each in said for line in mdoc.sentence(each)])
        )
    return mdoc.tags(items)


def occasions() -> list[str]:
    """Every MESSAGE_ID with its subject and its fields."""
    sent, subjects = _sent(), _subjects()
    items = []
    for each in Occasion:
        fields = ", ".join(f"`ENERGY_{name}`" for name in sorted(sent.get(each.name, ())))
        head = f"Li {each.value}"
        below = [*mdoc.sentence(re.sub(r"@(\w+)@", r"`\1`", subjects[each.value]))]
        items.append((head, [*below, *(mdoc.text(f"Fields: {fields}.") if fields else [])]))
    return mdoc.tags(items)


def fields() -> list[str]:
    """Every field of the journal that is ours."""
    names = {name for each in _sent().values() for name in each} | set(_of_units())
    return mdoc.tags((f"Ev ENERGY_{name}", mdoc.sentence(_FIELDS[name])) for name in sorted(names))


def _subjects() -> dict[str, str]:
    text = (ROOT / "systemd/catalog/energy-market.catalog").read_text()
    return dict(re.findall(r"^-- ([0-9a-f]{32})\nSubject: (.+)$", text, re.MULTILINE))


def _of_units() -> Iterable[str]:
    for path in (ROOT / "systemd/system").glob("*.service"):
        yield from re.findall(r"^LogExtraFields=ENERGY_(\w+)=", path.read_text(), re.MULTILINE)


def _sent() -> dict[str, set[str]]:
    """Occasion -> names of the fields with which it is logged."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "daemons/energymarket").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            asked = call.func
            if isinstance(asked, ast.Attribute) and asked.attr == "fields" and call.keywords:
                whose = ast.unparse(asked.value)
                names = {word.arg.upper() for word in call.keywords if word.arg}
                for each in _meant(tree, whose):
                    found.setdefault(each, set()).update(names)
    return found


def _meant(tree: ast.Module, whose: str) -> Iterable[str]:
    """The occasions that `Occasion.X`, or a variable that is one of several, stands for."""
    if whose.startswith("Occasion."):
        return [whose.removeprefix("Occasion.")]
    given = [
        ast.unparse(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == whose
    ]
    return [name for text in given for name in re.findall(r"Occasion\.(\w+)", text)]


def findings() -> list[str]:
    """Every kind of finding of the checker, with the remark beside it."""
    text = (ROOT / "daemons/energymarket/audit/findings.py").read_text()
    said = dict(re.findall(r'^    [A-Z_]+ = "([\w-]+)"(?:  # (.+))?$', text, re.MULTILINE))
    return mdoc.tags(
        ((f"Li {mdoc.escaped(each)}", mdoc.text(f"{said[each]}.") if said[each] else []) for each in Kind),
        compact=True,
        width="registers-backwards",
    )
