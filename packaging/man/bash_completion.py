"""The completion for bash: tables of what each verb takes, and one function that walks the words."""

# ruff: noqa: INP001 - a part of a program beside the pages that it writes

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from command_line import DIRECTORIES, FILES, SCENARIOS, Command, Option, Value
from shells import HEAD, HELP, all_commands, known_words, last_word, quoted

from energyctl.verbs.completion import Source

_NOTHING: Final = "nothing"
_WALK: Final = r"""
# Asks energyctl for words that depend on what runs: bounded, and none if the market is down.
_energyctl_ask_market() {
    mapfile -t COMPREPLY < <(timeout 1 "${program/#\~\//$HOME/}" "${run[@]}" completion bash \
        --words "$1" --prefix "$cur" 2>/dev/null)
}

_energyctl_words() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

_energyctl_paths() {
    local -a found
    compopt -o filenames 2>/dev/null
    mapfile -t found < <(compgen "$1" -- "$cur")
    COMPREPLY+=("${found[@]}")
}

_energyctl() {
    local program=$1 cur=${COMP_WORDS[COMP_CWORD]} command='' option='' closed='' word
    local -i arguments=0 i
    local -a run=() words=()
    # bash cuts --run=DIR at the equals sign: put it together again
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((${#words[@]})) && [[ $word == = || ${words[-1]} == --*= ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
    done
    if [[ $cur == = ]] && ((${#words[@]})); then
        words[-1]+==
        cur=''
    fi
    for word in "${words[@]}"; do
        if [[ -n $option ]]; then
            [[ $option != --run ]] || run=(--run "$word")
            option=''
        elif [[ -n $closed ]]; then
            arguments+=1
        elif [[ $word == -- ]]; then
            closed=yes
        elif [[ $word == --*= ]]; then
            option=${word%=}
        elif [[ $word == --run=* ]]; then
            run=(--run "${word#*=}")
        elif [[ $word == -* ]]; then
            [[ $word == *=* || -z $(_energyctl_takes "$command" "$word") ]] || option=$word
        elif [[ -n $(_energyctl_is "${command:+$command }$word") ]]; then
            command+=${command:+ }$word
        else
            arguments+=1
        fi
    done
    COMPREPLY=()
    if [[ -n $option ]]; then
        _energyctl_offer "$(_energyctl_takes "$command" "$option")"
    elif [[ $cur == -* && -z $closed ]]; then
        _energyctl_words "$(_energyctl_options "$command")"
    else
        _energyctl_offer "$(_energyctl_argument "$command" "$arguments")"
    fi
}

complete -F _energyctl energyctl"""


def text(root: Command) -> str:
    """The file."""
    return "\n".join((f"# bash completion of energyctl(1). {HEAD}", *_lines(root), _WALK)) + "\n"


def _lines(root: Command) -> Iterator[str]:
    commands = list(all_commands(root))
    yield "\n# Is it a verb?"
    yield from _table("_energyctl_is", '"$1"', [(quoted(each.words), "yes") for each in commands])
    yield "\n# The options of a verb."
    everywhere = _names((*root.options, HELP))
    own = [(quoted(each.words), f"{_names(each.options)} {everywhere}") for each in commands if each.options]
    yield from _table("_energyctl_options", '"$1"', [*own, ("*", everywhere)])
    yield "\n# What an option of a verb takes; a flag takes nothing, and is not here."
    yield from _table("_energyctl_takes", '"$1 $2"', [*_taken(root, "*' {}'"), *_of_verbs(commands)])
    yield "\n# What comes as an argument of a verb, counted from 0."
    yield from _table("_energyctl_argument", '"$1 $2"', _arguments(root, commands))
    yield "\n# Offers what completes a value."
    yield from _offers()


def _names(options: Iterable[Option]) -> str:
    return " ".join(name for each in options for name in each.names)


def _taken(command: Command, pattern: str) -> Iterator[tuple[str, str]]:
    for each in command.options:
        for name in each.names if each.value else ():
            yield pattern.format(name), _source(each.value)


def _of_verbs(commands: Iterable[Command]) -> Iterator[tuple[str, str]]:
    for command in commands:
        yield from _taken(command, quoted(f"{command.words} {{}}"))


def _arguments(root: Command, commands: Iterable[Command]) -> Iterator[tuple[str, str]]:
    yield "' 0'", f"words {' '.join(each.words for each in root.commands)}"
    for command in commands:
        if command.commands:
            yield quoted(f"{command.words} 0"), f"words {' '.join(map(last_word, command.commands))}"
        for at, each in enumerate(command.arguments):
            yield (
                quoted(f"{command.words} ") + "*" if each.many else quoted(f"{command.words} {at}"),
                _source(each.value),
            )


def _source(value: Value | None) -> str:
    if value is None or not value.source:
        return _NOTHING
    known = " ".join(known_words(value))
    return f"paths {known}" if value.source == SCENARIOS else f"words {known}" if known else value.source


def _table(name: str, key: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield f"{name}() {{\n    case {key} in"
    for pattern, answer in rows:
        yield f"    {pattern}) echo {quoted(answer)} ;;"
    yield "    esac\n}"


def _offers() -> Iterator[str]:
    yield '_energyctl_offer() {\n    case "$1" in'
    yield "    'words '*) _energyctl_words \"${1#words }\" ;;"
    yield "    'paths '*)\n        _energyctl_words \"${1#paths }\"\n        _energyctl_paths -f\n        ;;"
    yield f"    {FILES}) _energyctl_paths -f ;;"
    yield f"    {DIRECTORIES}) _energyctl_paths -d ;;"
    yield f'    {" | ".join(map(str, Source))}) _energyctl_ask_market "$1" ;;'
    yield "    esac\n}"
