"""The completion for zsh: one function per verb, by `_arguments`."""

# ruff: noqa: INP001 - a part of a program beside the pages that it writes

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from command_line import DIRECTORIES, FILES, SCENARIOS, Command, Option, Value, first_sentence
from shells import HEAD, is_asked_for, known_words, last_word, options_of, quoted

_ASK: Final = r"""
# Asks energyctl for words that depend on what runs: bounded, and none if the market is down.
# `_arguments` puts the options of compadd before the source.
_energyctl_ask_market() {
    local -a found
    found=(${(f)"$(_call_program words timeout 1 ${(q)_energyctl_program} ${(q)_energyctl_run} \
        completion zsh --words $argv[-1] --prefix ${(q)PREFIX} 2>/dev/null)"})
    compadd "${(@)argv[1,-2]}" -a found
}

_energyctl_scenarios() {
    _alternative 'scenarios:scenario:(SCENARIOS)' 'files:file:_files'
}
"""
_BEGIN: Final = r"""
_energyctl() {
    local _energyctl_program=${(Q)~words[1]}
    local -a _energyctl_run
    local -i at=${words[(I)--run]}
    (( at && at + 1 < CURRENT )) && _energyctl_run=(--run ${(Q)~words[at + 1]})
    at=${words[(I)--run=*]}
    (( at && at < CURRENT )) && _energyctl_run=(--run ${(Q)~words[at]#--run=})
    _energyctl_verbs
}

_energyctl "$@"
"""


def text(root: Command) -> str:
    """The file."""
    scenarios = " ".join(known_words(Value("", SCENARIOS)))
    lines = [
        "#compdef energyctl",
        f"# zsh completion of energyctl(1). {HEAD}",
        _ASK.replace("SCENARIOS)", f"{scenarios})").rstrip("\n"),
    ]
    for command in (each for verb in root.commands for each in (verb, *verb.commands)):
        lines += ["", *(_group(command, root) if command.commands else _leaf(command, root))]
    return "\n".join([*lines, "", *_group(root, root), _BEGIN.rstrip("\n")]) + "\n"


def _function(command: Command) -> str:
    return "_energyctl_" + (command.words.replace(" ", "_").replace("-", "_") or "verbs")


def _leaf(command: Command, root: Command) -> Iterator[str]:
    specs = [_option(each) for each in (*options_of(command), *root.options)]
    specs += [_argument(at, each) for at, each in enumerate(command.arguments, 1)]
    yield f"{_function(command)}() {{"
    yield " \\\n        ".join(["    _arguments -s -S", *specs])
    yield "}"


def _group(command: Command, root: Command) -> Iterator[str]:
    """A verb with verbs behind it: they are described, and the chosen one goes on."""
    shared = " \\\n        ".join(
        _option(each) for each in (*options_of(Command("", ("",), (), ())), *root.options)
    )
    verbs = [f"{last_word(each)}:{each.summary}" for each in command.commands]
    yield f"{_function(command)}() {{"
    yield "    local curcontext=$curcontext state line\n    typeset -A opt_args\n    local -a verbs"
    yield "    verbs=(\n" + "\n".join(f"        {quoted(each)}" for each in verbs) + "\n    )"
    yield f"    _arguments -C -S \\\n        {shared} \\\n        '(-): :->verb' '(-)*:: :->rest' && return"
    yield "    case $state in\n    verb) _describe verb verbs ;;\n    rest)\n        case $words[1] in"
    for each in command.commands:
        yield f"        {last_word(each)}) {_function(each)} ;;"
    yield "        esac\n        ;;\n    esac\n}"


def _option(option: Option) -> str:
    """`'(-u --unit)'{-u+,--unit=}'[Only this unit]:UNIT:...'`."""
    said = _escaped(first_sentence(option.help, ".;"))
    value = f":{_escaped(option.value.placeholder)}:{_action(option.value)}" if option.value else ""
    many = "*" if option.many else ""
    marks = [
        name + (("=" if name.startswith("--") else "+") if option.value else "") for name in option.names
    ]
    if len(marks) == 1:
        return quoted(f"{many}{marks[0]}[{said}]{value}")
    return f"'({' '.join(option.names)})'{{{','.join(marks)}}}{quoted(f'[{said}]{value}')}"


def _argument(at: int, option: Option) -> str:
    value = option.value
    if value is None:
        raise LookupError(f"an argument without a value: {option.help}")
    optional = "" if option.required else ":"
    place = "*" if option.many else f"{at}{optional}"
    return quoted(f"{place}:{_escaped(value.placeholder)}:{_action(value)}")


def _action(value: Value) -> str:
    if value.source == SCENARIOS:
        return "_energyctl_scenarios"
    if value.source in {FILES, DIRECTORIES}:
        return "_files" if value.source == FILES else "_files -/"
    if is_asked_for(value):
        return f"_energyctl_ask_market {value.source}"
    known = known_words(value)
    return f"({' '.join(known)})" if known else " "


def _escaped(said: str) -> str:
    for mark in "\\[]:":
        said = said.replace(mark, f"\\{mark}")
    return said
