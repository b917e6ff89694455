"""The way out of a program that answers once: a reader that has gone, a full disk, failures as JSON or words.

def main() -> int:
    words = _words(None)
    return once.run("energy-ipc", lambda: _answer(words), as_json=words.json)
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper

from energymarket.exits import Exit, Failure, exit_of


def run(program: str, act: Callable[[], int], *, as_json: bool) -> int:
    """Run a program without signals and logs of its own; its exit code."""
    open_streams()
    try:
        return answered(act, as_json=as_json)
    except Failure as failure:
        sys.stderr.write("".join(f"{program}: {line}\n" for line in str(failure).splitlines()))
        return failure.code


def answered(act: Callable[[], int], *, as_json: bool) -> int:
    """What `act` answers, all of it written; its exit code.

    A failure of which a person can be told is a Failure for the caller, or said as JSON already.
    """
    code: int = Exit.OK
    try:
        code = act()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (`energyctl explain price | head -1`).
        discard_output()
    except Failure as failure:
        return _told(failure, as_json=as_json)
    except OSError as error:
        discard_output()
        where = f"{error.filename}: " if error.filename else ""
        told = Failure(f"{where}{error.strerror or error}", code=exit_of(error))
        return _told(told, as_json=as_json)
    return code


def _told(failure: Failure, *, as_json: bool) -> int:
    if not as_json:
        raise failure
    sys.stderr.write(json.dumps(failure.document()) + "\n")
    return failure.code


def open_streams() -> None:
    """Give a program that was started with closed streams (`>&-`) some, and let no character stop it."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        os.set_inheritable(descriptor, True)
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
    # Typeshed does not say that they are None where the descriptor was closed.
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def discard_output(number: int = 1) -> None:
    """Let what cannot be written go, so that the interpreter does not complain of it at its end."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, number)
    os.close(descriptor)
