"""A state file cut into files of parts of its homes: nothing changes but where it lies, whoever dies when."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energymarket.core.chance import Purpose, draw_u64
from energymarket.core.owned import KINDS, SUPPLY, Owned
from energymarket.core.sparse import payload_bytes, state_in
from energymarket.core.state import STATE_COLUMNS, Layout, State
from energymarket.home import files
from energymarket.transport import cutting
from energymarket.transport.cutting import Piece
from energymarket.transport.generation import GenerationError, GenerationFault, GenerationFile, held
from energymarket.wire.state_file import HEADER_STEP, PAGE_BYTES, VERSION_SPARSE

IDENTITY = bytes(range(32))
STEPS = ("open", "posix_fallocate", "pwrite", "fsync", "replace", "unlink")
KILLED = 9

Columns = dict[str, list[float]]


def opened(path: Path, first: int, count: int) -> GenerationFile:
    return GenerationFile(path, first, count, State.size_bytes(count), IDENTITY)


def fill(file: GenerationFile, count: int, slot: int, edition: int) -> Columns:
    """Write a state in which no two numbers are alike; what it says, by column."""
    state = State(file.writable(), count)
    said = {}
    for nth, (name, dtype) in enumerate(STATE_COLUMNS):
        numbers = [draw_u64(slot, Purpose.HOME, nth, home) % 2**24 for home in range(count)]
        state.column(name)[:] = np.array(numbers).astype(dtype)
        said[name] = state.column(name).tolist()
    del state
    file.commit(slot, edition)
    file.keep(slot)
    return said


def written(path: Path, first: int, count: int, *said: tuple[int, int]) -> list[Columns]:
    """A file with the states of (slot, edition); what each says."""
    with opened(path, first, count) as file:
        return [fill(file, count, slot, edition) for slot, edition in said]


def read(path: Path, first: int, count: int, slot: int) -> tuple[Columns, int]:
    """The state of a slot in a file, and its edition."""
    with opened(path, first, count) as file:
        data, edition = file.load(slot)
        state = State(data, count)
        found = {name: state.column(name).tolist() for name, _ in STATE_COLUMNS}
        del state, data
        return found, edition


def pieces_of(directory: Path, edges: Sequence[int]) -> list[Piece]:
    """Pieces between the edges, which are home ids."""
    pairs = pairwise(edges)
    return [Piece(directory / f"shard-{low}-{high - low}.state", low, high - low) for low, high in pairs]


def cut(path: Path, pieces: Sequence[Piece]) -> None:
    with held(path) as descriptor:
        cutting.cut(path, descriptor, pieces)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_pieces_put_together_are_what_was_cut(data: st.DataObject) -> None:
    """Column by column, in both generations, with slot and edition; and nothing else is in the directory."""
    first, count = data.draw(st.integers(1, 2000)), data.draw(st.integers(1, 300))
    inner = data.draw(st.sets(st.integers(first + 1, first + count), max_size=5)) - {first + count}
    edges = [first, *sorted(inner), first + count]
    slot = data.draw(st.integers(0, 2**40))
    newer, edition = data.draw(st.sampled_from([(slot, 1), (slot + 1, 0), (slot + 9, 1)]))
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "whole.state"
        older_said, newer_said = written(path, first, count, (slot, 0), (newer, edition))
        pieces = pieces_of(Path(place), edges)
        cut(path, pieces)
        assert sorted(Path(place).iterdir()) == sorted(piece.path for piece in pieces)
        parts = [read(piece.path, piece.first, piece.count, newer) for piece in pieces]
        for name, _ in STATE_COLUMNS:
            assert list(chain.from_iterable(part[name] for part, _ in parts)) == newer_said[name]
        assert {held_edition for _, held_edition in parts} == {edition}
        if newer != slot:
            before = [read(piece.path, piece.first, piece.count, slot) for piece in pieces]
            for name, _ in STATE_COLUMNS:
                assert list(chain.from_iterable(part[name] for part, _ in before)) == older_said[name]
            assert {held_edition for _, held_edition in before} == {0}


@pytest.mark.parametrize("edges", [(1, 5), (1, 5, 12), (2, 11), (1, 5, 5, 11), (1, 7, 5, 11)])
def test_pieces_that_do_not_cover_the_homes_are_refused(tmp_path: Path, edges: tuple[int, ...]) -> None:
    """Homes 1 to 10 cut short, too far, too late, into nothing, or backwards: the file stays as it was."""
    path = tmp_path / "whole.state"
    written(path, 1, 10, (4, 1))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="do not cover"):
        cut(path, pieces_of(tmp_path, edges))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_somebody_has_is_not_cut(tmp_path: Path) -> None:
    """The lock of the file is the right to cut it."""
    path = tmp_path / "whole.state"
    with opened(path, 1, 10), pytest.raises(GenerationError) as refused:
        cut(path, pieces_of(tmp_path, (1, 5, 11)))
    assert refused.value.fault is GenerationFault.LOCKED


def test_damage_is_not_made_good(tmp_path: Path) -> None:
    """A flipped byte of home 8's state is refused in every piece; the other generation is whole in each."""
    path = tmp_path / "whole.state"
    said, _ = written(path, 1, 10, (4, 1), (5, 0))
    damaged = bytearray(path.read_bytes())
    damaged[PAGE_BYTES + PAGE_BYTES + 60] ^= 0x40  # the second area: 10 homes take a page each time
    path.write_bytes(damaged)
    cut(path, pieces_of(tmp_path, (1, 5, 11)))
    for first, count in ((1, 4), (5, 6)):
        piece = tmp_path / f"shard-{first}-{count}.state"
        with opened(piece, first, count) as file, pytest.raises(GenerationError) as refused:
            file.load(5)
        assert refused.value.fault is GenerationFault.CORRUPT
        found, edition = read(piece, first, count, 4)
        assert (found["import_wh"], edition) == (said["import_wh"][first - 1 : first - 1 + count], 1)


@pytest.mark.parametrize("at", [0, 200], ids=["in who has what", "in a column"])
def test_a_sparse_state_is_cut_and_its_damage_stays(tmp_path: Path, at: int) -> None:
    """Homes 1 to 10 of whom 2, 5 and 9 produce: one generation whole in each piece, one refused in each."""
    path = tmp_path / "whole.state"
    owned = owned_by(2, 5, 9)
    with GenerationFile(path, 1, 10, payload_bytes(owned, 65_536), IDENTITY, VERSION_SPARSE) as file:
        for slot in (4, 5):
            area = file.writable()
            area[:] = owned.packed() + bytes(len(area) - owned.packed_bytes)
            state = State(area, 10, Layout.NARROW, owned)
            state.given_wh[:] = (20 + slot, 50 + slot, 90 + slot)
            state.import_wh[:] = range(10)
            del state, area
            file.commit(slot, 1)
            file.keep(slot)
    damaged = bytearray(path.read_bytes())
    damaged[2 * PAGE_BYTES + at] ^= 0x81  # the second area
    path.write_bytes(damaged)
    cut(path, pieces_of(tmp_path, (1, 5, 11)))
    for first, count, gave in ((1, 4, [0, 24, 0, 0]), (5, 6, [54, 0, 0, 0, 94, 0])):
        piece = tmp_path / f"shard-{first}-{count}.state"
        size = payload_bytes(owned.part(first - 1, first - 1 + count), 65_536)
        with GenerationFile(piece, first, count, size, IDENTITY, VERSION_SPARSE) as file:
            with pytest.raises(GenerationError) as refused:
                file.load(5)
            assert refused.value.fault is GenerationFault.CORRUPT
            found = state_in(file.load(4)[0], count, 65_536)
            assert found.column("given_wh").tolist() == gave
            assert found.column("import_wh").tolist() == list(range(first - 1, first - 1 + count))
            del found


def owned_by(*producers: int) -> Owned:
    """Ten homes of whom these produce, and nobody has anything else."""
    masks = [np.zeros(10, np.bool_) for _ in range(KINDS)]
    masks[SUPPLY][[home - 1 for home in producers]] = True
    return Owned.of_masks(masks)


def test_a_torn_header_stays_torn(tmp_path: Path) -> None:
    """Its generation is missing in the pieces too; with both torn nobody knows whose state it is: refused."""
    path = tmp_path / "whole.state"
    written(path, 1, 10, (4, 1), (5, 0))
    damaged = bytearray(path.read_bytes())
    damaged[40] ^= 1
    path.write_bytes(damaged)
    cut(path, pieces_of(tmp_path, (1, 5, 11)))
    with opened(tmp_path / "shard-5-6.state", 5, 6) as file:
        assert file.slots() == (5,)
    piece = bytearray((tmp_path / "shard-5-6.state").read_bytes())
    piece[HEADER_STEP + 40] ^= 1
    (tmp_path / "shard-5-6.state").write_bytes(piece)
    with pytest.raises(GenerationError) as refused:
        cut(tmp_path / "shard-5-6.state", pieces_of(tmp_path, (5, 7, 11)))
    assert refused.value.fault is GenerationFault.CORRUPT


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC at the second piece: the error is told, the whole is there, no draft is left."""
    path = tmp_path / "whole.state"
    written(path, 1, 10, (4, 1))
    real, asked = os.posix_fallocate, []

    def refuse(*words: int) -> None:
        asked.append(words)
        if len(asked) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*words)

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="No space left"):
        cut(path, pieces_of(tmp_path, (1, 5, 11)))
    assert list(tmp_path.iterdir()) == [path]


# killed


def killed_at(step: int, work: Callable[[], None]) -> bool:
    """Do the work in a process that dies before its n-th system call of those that matter; whether it did."""
    child = os.fork()
    if child == 0:
        left = step

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def before(*words: Any, **named: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    os._exit(KILLED)
                return call(*words, **named)

            return before

        for name in STEPS:
            setattr(os, name, counted(getattr(os, name)))
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, KILLED}
    return code == KILLED


def claim(mine: files.StateFile) -> None:
    with files.claimed(mine, IDENTITY):
        pass


@pytest.mark.parametrize("then", [7, 9], ids=["the same home again", "another home first"])
def test_killed_at_any_step_the_cut_is_done_again_and_loses_nothing(tmp_path: Path, then: int) -> None:
    """Home 7 leaves homes 1 to 10: at every step either the whole is there, or all the pieces."""
    wanted = {7: (1, 7, 8, 11), 9: (1, 7, 8, 9, 10, 11)}[then]
    step, cuts = 0, 0
    while True:
        directory = tmp_path / str(step)
        directory.mkdir()
        whole = files.of_shard(directory, 1, 10)
        _, said = written(whole.path, 1, 10, (4, 1), (5, 0))
        died = killed_at(step, lambda directory=directory: claim(files.of_home(directory, 7)))  # type: ignore[misc]
        names = {path.name for path in directory.iterdir()}
        pieces = {"shard-1-6.state", "home-7.state", "shard-8-3.state"}
        assert "shard-1-10.state" in names or pieces <= names
        cuts += died and "shard-1-10.state" in names and bool(pieces & names)
        for home in (then, 7):
            claim(files.of_home(directory, home))
        for low, high in pairwise(wanted):
            path = directory / (
                f"home-{low}.state" if low in {7, then} else f"shard-{low}-{high - low}.state"
            )
            found, edition = read(path, low, high - low, 5)
            assert found == {name: column[low - 1 : high - 1] for name, column in said.items()}
            assert edition == 0
        assert len(list(directory.iterdir())) == len(wanted) - 1
        if not died:
            break
        step += 1
    assert step > 15, "nobody was killed: the test shows nothing"
    assert cuts >= 3, "never between the first piece's name and the end of the whole"
