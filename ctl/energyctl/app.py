"""The command line: finds the verb, loads only its module, runs it, and shows its answer."""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from energyctl import verbs
from energyctl.exits import Exit, ProblemError
from energyctl.render import Answer, show, show_problem
from energyctl.session import Session
from energymarket.exits import exit_of
from energymarket.once import discard_output, open_streams

# typer's vendored click has no public name for "the command line is wrong"; its public children do
_WRONG_COMMAND_LINE: type[Exception] = typer.BadParameter.__mro__[2]

SOCKET_PATH_BYTES_MAX = 107
_EPILOG = "--json and --run DIR are understood before and after every verb. Exit codes: energyctl(1)."


def hoist(words: Sequence[str]) -> tuple[Session, list[str]]:
    """Take the options that hold everywhere out of a command line, wherever they stand before `--`."""
    as_json, run, rest = False, None, []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word == "--":
            rest += [word, *queue]
            break
        if word == "--json":
            as_json = True
        elif word == "--run" and queue:
            run = queue.pop(0)
        elif word.startswith("--run="):
            run = word.removeprefix("--run=")
        else:
            rest.append(word)
    return Session(as_json, run), rest


def build(words: Sequence[str]) -> tuple[typer.Typer, str, list[str]]:
    """The application, its name, and the words that are left for it.

    A known verb is an application of its own, which starts fastest; for the help all verbs are one.
    """
    verb = words[0] if words else ""
    known = verb in verbs.MODULES
    app = typer.Typer(
        help="Look at, steer and run the energy market.",
        no_args_is_help=not known,
        add_completion=False,
        rich_markup_mode=None,  # rich costs more than the whole command
        pretty_exceptions_enable=False,
    )
    for module in [verbs.MODULES[verb]] if known else verbs.MODULES.values():
        importlib.import_module(f"energyctl.verbs.{module}").register(app)
    if known and not app.registered_groups:
        return app, f"energyctl {verb}", list(words[1:])
    app.callback()(_everywhere)
    return app, "energyctl", list(words)


def _everywhere(
    *,
    _json: Annotated[
        bool, typer.Option("--json", help="Answer in JSON: raw integers, units in the names.")
    ] = False,
    _run: Annotated[
        str | None, typer.Option("--run", metavar="DIR", help="The run directory ($ENERGY_MARKET_RUN).")
    ] = None,
) -> None:
    """Look at, steer and run the energy market."""


def run(session: Session, words: list[str]) -> int:
    """Run one command line; the answer is the exit code."""
    _refuse_a_long_path(session)
    app, name, rest = build(words)
    command = typer.main.get_command(app)
    _close_help(command)
    result = command.main(args=rest, prog_name=name, standalone_mode=False, obj=session)
    if isinstance(result, Answer):
        show(result, as_json=session.as_json)
        return result.exit_code
    if isinstance(result, Iterator):
        code: int = Exit.OK
        for answer in result:
            show(answer, as_json=session.as_json)
            code = answer.exit_code
        return code
    return result if isinstance(result, int) else Exit.OK


def _refuse_a_long_path(session: Session) -> None:
    """A socket's address has room for 107 bytes (unix(7)): no market could listen there."""
    if session.run is None and not os.environ.get("ENERGY_MARKET_RUN"):
        return
    length = len(os.fsencode(session.control))
    if length > SOCKET_PATH_BYTES_MAX:
        said = f"{session.control} has {length} bytes, a socket's path at most {SOCKET_PATH_BYTES_MAX}"
        raise typer.BadParameter(said, param_hint="--run")


def _close_help(command: Any) -> None:  # noqa: ANN401 - see _WRONG_COMMAND_LINE
    """Say at the end of every help what holds everywhere."""
    command.epilog = _EPILOG
    for inner in getattr(command, "commands", {}).values():
        _close_help(inner)


def main() -> int:
    """Entry of the console script."""
    open_streams()
    session, words = hoist(sys.argv[1:])
    try:
        return int(run(session, words))
    except ProblemError as problem:
        _tell(problem, session)
        return int(problem.exit_code)
    except _WRONG_COMMAND_LINE as error:
        if type(error).__name__ == "NoArgsIsHelpError" and not session.as_json:
            sys.stderr.write(f"{error}\n")
            return Exit.USAGE
        _tell(_usage(error, words), session)
        return verbs.USAGE_CODES.get(words[0] if words else "", Exit.USAGE)
    except (typer.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough (`energyctl watch | head`); the interpreter must not complain at its end.
        discard_output()
        return Exit.OK
    except OSError as error:
        # What is still in a buffer cannot be written either: without this the interpreter's end is 120.
        discard_output()
        trouble = _trouble(error)
        _tell(trouble, session)
        return int(trouble.exit_code)


def _tell(problem: ProblemError, session: Session) -> None:
    """Say it on stderr; where that cannot be written, the exit code alone says it."""
    try:
        show_problem(problem, as_json=session.as_json)
    except OSError:
        discard_output(2)


def _trouble(error: OSError) -> ProblemError:
    """A failed system call that no verb has expected: a full disk, mostly."""
    where = f" ({error.filename})" if error.filename else ""
    hint = (
        "is the disk full?  df -h" if error.errno == errno.ENOSPC else "see what is there, and who may use it"
    )
    code = exit_of(error)
    name = "permission_denied" if code is Exit.PERMISSION else "io_error"
    return ProblemError(code, name, f"{error.strerror or error}{where}", hint=hint)


def _usage(error: Exception, words: Sequence[str]) -> ProblemError:
    if not words:
        return ProblemError(Exit.USAGE, "usage", "no verb given", hint="energyctl --help lists them")
    verb = words[0]
    if verb not in verbs.MODULES and not verb.startswith("-"):
        near = difflib.get_close_matches(verb, verbs.MODULES, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return ProblemError(
            Exit.USAGE, "usage", f"there is no verb {verb!r}", hint=f"{hint}energyctl --help lists them"
        )
    said = getattr(error, "format_message", lambda: str(error))()
    known = verb if verb in verbs.MODULES else ""
    return ProblemError(Exit.USAGE, "usage", said, hint=f"energyctl {known} --help".replace("  ", " "))
