"""The present state goes aside and another takes its place: two directories, decided before either moves.

Two renames cannot be one. So it is decided first, by a file that is durable before anything moves: until
then the old state is there, and a start goes on with it. From then on no market starts on what stands
between, and the next restore carries out what was decided, by renames alone, however often it is killed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from energymarket.archive.manifest import HOMES, MARKET
from energymarket.archive.places import durable
from energymarket.exits import ConfigError, Exit, Failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DECISION: Final = "restore.json"
INCOMING: Final = "incoming"
PARTS: Final = (HOMES, MARKET)
_DRAFT: Final = f"{DECISION}.part"
_ASIDE: Final = re.compile(r"before-[0-9]{8}T[0-9]{6}Z")
_BYTES_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided: the state in `incoming` becomes the present one, the present one lies in `aside`."""

    aside: str  # directory in the state, for what is there now
    seal: str  # of the backup's manifest
    last_slot: int


def refuse_unfinished(state: Path) -> None:
    """A start on a state that a restore was killed in: ConfigError with the way out."""
    if (state / DECISION).exists():
        raise ConfigError(f"{state}: a restore was cut short", "energyctl ledger restore FILE finishes it")


def pending(state: Path) -> Decision | None:
    """The restore that was cut short here, if there is one. Raises Failure if nobody can say what it was."""
    path = state / DECISION
    try:
        return _decision(_own_text(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise Failure(
            f"{path} cannot be read: {error}", f"look into {state / INCOMING} and beside it", Exit.IO_ERROR
        ) from error


def _own_text(path: Path) -> str:
    """Who may write into the state, but not restore it, could plant a decision: ValueError for that one's."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no file")
        if found.st_uid not in {0, os.geteuid()}:
            raise ValueError(f"user {found.st_uid} has written it, and no restore of ours")
        return file.read(_BYTES_MAX).decode()


def _decision(text: str) -> Decision:
    """ValueError, TypeError for what no restore has decided: its words become names of directories."""
    found = Decision(**json.loads(text))
    if not _ASIDE.fullmatch(str(found.aside)):
        raise ValueError(f"{found.aside!r} is no directory that a restore sets aside in")
    return found


def decide(state: Path, decision: Decision) -> None:
    """Make it durable; the state that comes lies whole in `incoming`, durable too."""
    draft = state / _DRAFT
    with draft.open("w", encoding="utf-8") as file:
        json.dump(asdict(decision), file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(state / DECISION)
    durable(state)


def finish(state: Path, decision: Decision, told: Callable[[str], None]) -> Path | None:
    """Carry out what was decided, from wherever it was cut short; where the state of before lies now."""
    incoming, aside = state / INCOMING, state / decision.aside
    for part in PARTS:
        if not (incoming / part).exists():
            continue  # it is in its place
        if (state / part).exists():
            aside.mkdir(mode=0o700, exist_ok=True)
            (state / part).rename(_free(aside / part))
            durable(aside)
            durable(state)
            told(f"{part} aside")
        (incoming / part).rename(state / part)
        durable(state)
        told(f"{part} in")
    (state / DECISION).unlink()
    durable(state)
    told("decision carried out")
    clear(state)
    return aside if aside.exists() else None


def clear(state: Path) -> None:
    """Remove what came for a restore that was never decided."""
    (state / _DRAFT).unlink(missing_ok=True)
    if (state / INCOMING).exists():
        shutil.rmtree(state / INCOMING)


def _free(path: Path) -> Path:
    """A name that nothing has: a start between two tries of ours may have made an empty directory anew."""
    found, number = path, 1
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}-{number}")
    return found
