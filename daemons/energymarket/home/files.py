"""The state files of a directory: which homes are in which, and how a file gets out of another's way.

A shard has `shard-FIRST-COUNT.state`, a home that is a process of its own `home-ID.state`. Which homes
share a file may only become finer: whoever opens the file of some homes first cuts the one that has them
among others, if nobody holds it. All of that is done under a lock of the directory, so that no two
processes open files of the same home. A file that never held a state counts for nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from energymarket.exits import ConfigError, Exit, Failure
from energymarket.transport import cutting
from energymarket.transport.cutting import Piece
from energymarket.transport.generation import GenerationError, GenerationFault, headers_of, held
from energymarket.wire.state_file import NO_SLOT

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME: Final = re.compile(r"shard-([1-9][0-9]*)-([1-9][0-9]*)\.state|home-([1-9][0-9]*)\.state")


class InUse(Failure):
    """Another process has these homes, or opens a file here: it may let go of them in a moment."""

    code = Exit.TRY_AGAIN


class Outdated(Failure):
    """Some of these homes have files of their own by now: whoever wants them together has to look again."""

    code = Exit.TRY_AGAIN


@dataclass(frozen=True, slots=True)
class StateFile:
    """A file and the homes that it is for, as its name says."""

    path: Path
    first: int
    count: int

    @property
    def end(self) -> int:
        """The home after its last."""
        return self.first + self.count

    def overlaps(self, other: StateFile) -> bool:
        """Whether some home is in both."""
        return self.first < other.end and other.first < self.end

    def covers(self, other: StateFile) -> bool:
        """Whether all homes of the other are in this."""
        return self.first <= other.first and other.end <= self.end

    @property
    def text(self) -> str:
        """Its homes, for people."""
        return f"home {self.first}" if self.count == 1 else f"homes {self.first} to {self.end - 1}"


def of_shard(directory: Path, first: int, count: int) -> StateFile:
    """The file of a shard of the pool."""
    return StateFile(directory / f"shard-{first}-{count}.state", first, count)


def of_home(directory: Path, home: int) -> StateFile:
    """The file of a home that is a process of its own."""
    return StateFile(directory / f"home-{home}.state", home, 1)


@contextlib.contextmanager
def claimed(mine: StateFile, identity: bytes) -> Iterator[None]:
    """Nothing stands in the way of opening this file, nor will while the context lasts.

    `identity` is the ledger's or scenario's that the states belong to. Raises InUse, Outdated, ConfigError
    (files that contradict each other), GenerationError, OSError.
    """
    with _locked(mine.path.parent):
        while others := [each for each in _listed(mine.path.parent) if _is_in_the_way(each, mine)]:
            _move(max(others, key=lambda each: each.count), mine, identity)
        yield


def ranges_kept(directory: Path) -> tuple[list[tuple[int, int]], list[int]]:
    """How homes that have a state share files: the ranges of shards, and homes with files of their own.

    Raises InUse, ConfigError.
    """
    with _locked(directory):
        written = [each for each in _listed(directory) if not _is_blank(each)]
    shards: list[StateFile] = []
    alone = []
    for each in sorted(written, key=lambda each: (each.first, -each.count)):
        last = shards[-1] if shards else None
        if last is not None and last.covers(each):
            continue  # left of a cut that was killed: the whole alone counts
        if last is not None and last.overlaps(each):
            raise _contradiction(last, each)
        if each == of_home(directory, each.first):
            alone.append(each.first)
        else:
            shards.append(each)
    return [(each.first, each.count) for each in shards], alone


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUse(f"{directory}: another process opens a file there") from error
        yield
    finally:
        os.close(descriptor)


def _listed(directory: Path) -> list[StateFile]:
    found = []
    for path in directory.iterdir():
        name = _NAME.fullmatch(path.name)
        if name is not None and name[3]:
            found.append(StateFile(path, int(name[3]), 1))
        elif name is not None:
            found.append(StateFile(path, int(name[1]), int(name[2])))
    return found


def _is_in_the_way(each: StateFile, mine: StateFile) -> bool:
    return each.path != mine.path and each.overlaps(mine)


def _move(other: StateFile, mine: StateFile, identity: bytes) -> None:
    """Get one file out of the way of ours, the largest first."""
    try:
        with held(other.path) as descriptor:
            _move_held(other, descriptor, mine, identity)
    except GenerationError as error:
        if error.fault is not GenerationFault.LOCKED:
            raise
        text = f"{other.path}: another process keeps {other.text}"
        raise InUse(text) if other.covers(mine) else Outdated(text) from error


def _move_held(other: StateFile, descriptor: int, mine: StateFile, identity: bytes) -> None:
    headers = [header for header in headers_of(descriptor) if header is not None]
    if _never_written(descriptor):
        other.path.unlink()
    elif any(header.shape.identity != identity for header in headers):
        text = f"{other.path}: state of another ledger or scenario; move it away"
        raise GenerationError(GenerationFault.FOREIGN, text)
    elif other.covers(mine) and other.count == mine.count:
        _rename(other, mine)
    elif other.covers(mine):
        _cut(other, descriptor, mine)
    elif not mine.covers(other):
        raise _contradiction(other, mine)
    elif _is_blank(mine):
        raise Outdated(f"{other.path}: {other.text} left {mine.text}")
    else:
        _remove_left_over(other, descriptor, _newest(mine))


def _rename(other: StateFile, mine: StateFile) -> None:
    """The same homes under another name: a cut has left this one home alone."""
    if not _is_blank(mine):
        raise _contradiction(other, mine)
    other.path.replace(mine.path)


def _cut(whole: StateFile, descriptor: int, mine: StateFile) -> None:
    """Cut a file that has our homes among others: those before, ours, those after."""
    directory, newest = whole.path.parent, _newest_of(descriptor)
    for each in _listed(directory):
        if each.path != whole.path and whole.covers(each):
            with held(each.path) as left_over:
                _remove_left_over(each, left_over, newest)
    for draft in directory.glob(f"*{cutting.DRAFT}"):
        draft.unlink()
    pieces = [Piece(mine.path, mine.first, mine.count)]
    if mine.first > whole.first:
        before = of_shard(directory, whole.first, mine.first - whole.first)
        pieces.insert(0, Piece(before.path, before.first, before.count))
    if mine.end < whole.end:
        after = of_shard(directory, mine.end, whole.end - mine.end)
        pieces.append(Piece(after.path, after.first, after.count))
    cutting.cut(whole.path, descriptor, pieces)


def _remove_left_over(piece: StateFile, descriptor: int, newest: int) -> None:
    """Remove what a cut that was killed has left: never what is younger than the file that was cut."""
    if _newest_of(descriptor) > newest:
        raise ConfigError(
            f"{piece.path}: a later state of {piece.text} than the file has that they share with others",
            "one of both is from a backup: move it away",
        )
    piece.path.unlink()


def _contradiction(one: StateFile, other: StateFile) -> ConfigError:
    return ConfigError(
        f"{one.path} and {other.path} both have a state of the same homes", "move one of both away"
    )


def _is_blank(each: StateFile) -> bool:
    """Whether a file is not there, or never held a state."""
    try:
        descriptor = os.open(each.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        return _never_written(descriptor)
    finally:
        os.close(descriptor)


def _never_written(descriptor: int) -> bool:
    return all(header is not None and header.slot == NO_SLOT for header in headers_of(descriptor))


def _newest(each: StateFile) -> int:
    with contextlib.closing(os.fdopen(os.open(each.path, os.O_RDONLY | os.O_CLOEXEC), "rb")) as file:
        return _newest_of(file.fileno())


def _newest_of(descriptor: int) -> int:
    return max(NO_SLOT if header is None else header.slot for header in headers_of(descriptor))
