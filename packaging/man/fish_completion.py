"""The completion for fish: one line per option and word, each with the condition under which it counts."""

# ruff: noqa: INP001 - a part of a program beside the pages that it writes

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from command_line import DIRECTORIES, FILES, SCENARIOS, Command, Option, Value, first_sentence
from shells import HEAD, all_commands, is_asked_for, known_words, last_word, options_of

_WALK: Final = r"""
# The verb so far, how many arguments it has, and the run directory that is meant.
function __energyctl_line
    set -l words (commandline -opc)
    set -e words[1]
    set -l command ''
    set -l option ''
    set -l run ''
    set -l arguments 0
    for word in $words
        if test -n "$option"
            test "$option" = --run; and set run $word
            set option ''
            continue
        end
        switch $word
            case '--run=*'
                set run (string replace -- --run= '' $word)
            case '--*=*'
            case '-*'
                if __energyctl_takes "$command $word"
                    set option $word
                end
            case '*'
                set -l longer (string trim -- "$command $word")
                if __energyctl_is $longer
                    set command $longer
                else
                    set arguments (math $arguments + 1)
                end
        end
    end
    printf '%s\n' "$command" $arguments "$run"
end

function __energyctl_at
    set -l line (__energyctl_line)
    test "$line[1]" = "$argv[1]"
end

function __energyctl_argument
    set -l line (__energyctl_line)
    test "$line[1]" = "$argv[1]" -a $line[2] -eq $argv[2]
end

# The same for one that may be said again.
function __energyctl_argument_from
    set -l line (__energyctl_line)
    test "$line[1]" = "$argv[1]" -a $line[2] -ge $argv[2]
end

# The word under the cursor; of --option=value, the value.
function __energyctl_value
    string replace -r -- '^--[a-z-]+=' '' (commandline -ct)
end

# Asks energyctl for words that depend on what runs: bounded, and none if the market is down.
function __energyctl_ask_market
    set -l line (__energyctl_line)
    set -l run
    test -n "$line[3]"; and set run --run $line[3]
    set -l program (commandline -opc)[1]
    timeout 1 $program $run completion fish --words $argv[1] --prefix (__energyctl_value) 2>/dev/null
end

complete -c energyctl -f"""


def text(root: Command) -> str:
    """The file."""
    return (
        "\n".join(
            (f"# fish completion of energyctl(1). {HEAD}", *_tables(root), _WALK, *_lines(root))
        ).rstrip("\n")
        + "\n"
    )


def _tables(root: Command) -> Iterator[str]:
    commands = list(all_commands(root))
    yield '\nfunction __energyctl_is\n    contains -- "$argv[1]" \\'
    yield " \\\n".join(f"        {_quoted(each.words)}" for each in commands) + "\nend"
    yield "\nfunction __energyctl_takes\n    string match -qr -- ' --run$' \"$argv[1]\"; and return"
    takes = [
        f"{each.words} {name}"
        for each in commands
        for option in each.options
        if option.value
        for name in option.names
    ]
    yield (
        '    contains -- "$argv[1]" \\\n'
        + " \\\n".join(f"        {_quoted(each)}" for each in takes)
        + "\nend"
    )


def _lines(root: Command) -> Iterator[str]:
    for option in (*root.options, *options_of(Command("", ("",), (), ()))):
        yield _option(option, "")
    yield from _verbs(root)
    for command in all_commands(root):
        yield ""
        if command.commands:
            yield from _verbs(command)
            continue
        for option in command.options:
            yield _option(option, f"__energyctl_at {_quoted(command.words)}")
        for at, argument in enumerate(command.arguments):
            if argument.value and argument.value.source:
                where = "__energyctl_argument_from" if argument.many else "__energyctl_argument"
                when = f"{where} {_quoted(command.words)} {at}"
                yield f"complete -c energyctl -n {_quoted(when)} {_offer(argument.value)}"


def _verbs(command: Command) -> Iterator[str]:
    when = _quoted(f"__energyctl_argument {_quoted(command.words)} 0")
    for each in command.commands:
        yield f"complete -c energyctl -n {when} -a {last_word(each)} -d {_quoted(each.summary)}"


def _option(option: Option, when: str) -> str:
    words = ["complete -c energyctl", *([f"-n {_quoted(when)}"] if when else [])]
    words += [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
    if option.value:
        words.append(f"-x {_offer(option.value)}".rstrip() if option.value.source != FILES else "-r -F")
    return " ".join([*words, "-d", _quoted(first_sentence(option.help, ".;"))])


def _offer(value: Value) -> str:
    if value.source == FILES:
        return "-F"
    if value.source == DIRECTORIES:
        return "-a '(__fish_complete_directories (__energyctl_value))'"
    if is_asked_for(value):
        return f"-a '(__energyctl_ask_market {value.source})'"
    known = _quoted(" ".join(known_words(value)))
    return f"-F -a {known}" if value.source == SCENARIOS else f"-a {known}" if known_words(value) else ""


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
