"""Whose state is in which file: no home is ever in two files that count, and nothing younger is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from energymarket.exits import ConfigError, Exit
from energymarket.home import apart, files
from energymarket.home.files import of_home, of_shard
from energymarket.transport.generation import GenerationError, GenerationFault
from tests.ipc.test_cutting import IDENTITY, claim, opened, read, written


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_who_opens_a_part_cuts_the_whole(tmp_path: Path) -> None:
    """Three processes in any order: each finds its homes in a file of its own, the state as it was."""
    (said,) = written(of_shard(tmp_path, 1, 10).path, 1, 10, (5, 1))
    claim(of_shard(tmp_path, 8, 3))
    assert names(tmp_path) == ["shard-1-7.state", "shard-8-3.state"]
    claim(of_shard(tmp_path, 1, 6))
    claim(of_home(tmp_path, 7))
    assert names(tmp_path) == ["home-7.state", "shard-1-6.state", "shard-8-3.state"]
    found, edition = read(of_home(tmp_path, 7).path, 7, 1, 5)
    assert (found, edition) == ({name: column[6:7] for name, column in said.items()}, 1)


def test_whom_another_process_keeps_is_waited_for(tmp_path: Path) -> None:
    """While the shard has its file, nobody cuts it: try again."""
    shard = of_shard(tmp_path, 1, 10)
    written(shard.path, 1, 10, (5, 1))
    with opened(shard.path, 1, 10), pytest.raises(files.InUse) as refused:
        claim(of_home(tmp_path, 7))
    assert refused.value.code is Exit.TRY_AGAIN
    assert names(tmp_path) == ["shard-1-10.state"]


def test_a_shard_that_a_home_has_left_is_told_to_look_again(tmp_path: Path) -> None:
    """Homes 1 to 10 are not joined again, whether home 7 has a state already or is just beginning."""
    written(of_home(tmp_path, 7).path, 7, 1, (5, 1))
    with pytest.raises(files.Outdated):
        claim(of_shard(tmp_path, 1, 10))
    of_home(tmp_path, 7).path.unlink()
    with opened(of_home(tmp_path, 7).path, 7, 1), pytest.raises(files.Outdated):
        claim(of_shard(tmp_path, 1, 10))


def test_only_one_opens_at_a_time(tmp_path: Path) -> None:
    """The directory is locked while somebody looks and opens."""
    with files.claimed(of_home(tmp_path, 7), IDENTITY), pytest.raises(files.InUse):
        claim(of_home(tmp_path, 8))
    claim(of_home(tmp_path, 8))


def test_a_file_that_never_held_a_state_is_in_nobodys_way(tmp_path: Path) -> None:
    """Left by starts that were refused: larger, smaller or across, they go; the state stays."""
    for each in (of_shard(tmp_path, 1, 20), of_shard(tmp_path, 8, 9), of_home(tmp_path, 3)):
        opened(each.path, each.first, each.count).close()
    mine = of_shard(tmp_path, 1, 10)
    (said,) = written(mine.path, 1, 10, (5, 1))
    claim(mine)
    assert names(tmp_path) == ["shard-1-10.state"]
    assert read(mine.path, 1, 10, 5) == (said, 1)


def test_what_a_killed_cut_left_is_removed_and_what_is_younger_is_not(tmp_path: Path) -> None:
    """A piece of slot 4 beside the whole of slot 5 is left over; a whole of slot 4 is from a backup."""
    whole = of_shard(tmp_path, 1, 10)
    (said,) = written(whole.path, 1, 10, (5, 0))
    written(of_shard(tmp_path, 5, 6).path, 5, 6, (4, 0))
    claim(of_home(tmp_path, 7))
    assert names(tmp_path) == ["home-7.state", "shard-1-6.state", "shard-8-3.state"]
    assert read(of_shard(tmp_path, 8, 3).path, 8, 3, 5)[0]["import_wh"] == said["import_wh"][7:]
    written(of_shard(tmp_path, 1, 10).path, 1, 10, (4, 0))
    with pytest.raises(ConfigError, match="from a backup"):
        claim(of_home(tmp_path, 9))
    assert names(tmp_path) == ["home-7.state", "shard-1-10.state", "shard-1-6.state", "shard-8-3.state"]


def test_files_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    """Homes 5 to 10 in two files of which neither is a part of the other: exit 78, nothing is touched."""
    written(of_shard(tmp_path, 1, 10).path, 1, 10, (5, 0))
    written(of_shard(tmp_path, 5, 10).path, 5, 10, (5, 0))
    with pytest.raises(ConfigError, match="both have a state"):
        claim(of_shard(tmp_path, 5, 10))
    with pytest.raises(ConfigError, match="both have a state"):
        files.ranges_kept(tmp_path)
    assert names(tmp_path) == ["shard-1-10.state", "shard-5-10.state"]


def test_the_state_of_another_ledger_is_not_cut(tmp_path: Path) -> None:
    """It is refused by name and stays as it is."""
    written(of_shard(tmp_path, 1, 10).path, 1, 10, (5, 0))
    with pytest.raises(GenerationError) as refused, files.claimed(of_home(tmp_path, 7), bytes(32)):
        pass
    assert refused.value.fault is GenerationFault.FOREIGN
    assert names(tmp_path) == ["shard-1-10.state"]


def test_the_pool_goes_on_with_the_ranges_that_have_a_state(tmp_path: Path) -> None:
    """Empty files and leftovers of a cut do not count; homes with files of their own are told apart."""
    written(of_shard(tmp_path, 1, 10).path, 1, 10, (5, 0))
    written(of_shard(tmp_path, 1, 6).path, 1, 6, (5, 0))
    written(of_home(tmp_path, 12).path, 12, 1, (5, 0))
    opened(of_shard(tmp_path, 11, 20).path, 11, 20).close()
    (tmp_path / "shard-1-3.state.cut").write_bytes(b"half")
    assert files.ranges_kept(tmp_path) == ([(1, 10)], [12])


def test_a_home_that_has_left_is_remembered(tmp_path: Path) -> None:
    """By a file with its number; whatever else lies there is no home."""
    assert apart.homes_in(tmp_path) == frozenset()
    apart.leave(tmp_path, 7)
    apart.leave(tmp_path, 7)
    apart.leave(tmp_path, 1000)
    for name in ("007", "0", "-1", "1e3", "7.swp", "٣", "12345678", "7\n8"):
        (tmp_path / "apart" / name).touch()
    assert apart.homes_in(tmp_path) == {7, 1000}
