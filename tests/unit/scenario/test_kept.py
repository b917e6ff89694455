"""A compiled scenario is found by its hash among all that a user keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from energymarket.scenario import compiled, toml
from energymarket.scenario.cache import cache_directory
from energymarket.scenario.compile import compile_scenario
from energymarket.scenario.kept import compiled_with


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two scenarios, a file that is none, a directory without one, and one whose JSON was cut."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []
    for name in ("pencil-gift", "pencil-trade", "pencil-late"):
        scenario, problems = toml.read(name)
        assert scenario is not None, problems
        made.append(compile_scenario(scenario))
    (cache_directory() / "0-file").touch()
    (cache_directory() / "0-empty").mkdir()
    return made


def test_the_one_of_the_hash_is_found(kept: list[Path]) -> None:
    """Each by its own hash, whichever comes first by name; no hash that nobody has."""
    for directory in kept:
        found = compiled_with(compiled.load(directory).hash)
        assert found is not None
        assert found.directory == directory
    assert compiled_with("0" * 64) is None


def test_what_cannot_be_read_is_not_the_one_and_no_obstacle(kept: list[Path]) -> None:
    """A JSON that is cut, and a scenario that only mentions the hash of another in its title."""
    cut, _, whole = kept
    wanted, gone = compiled.load(whole).hash, compiled.load(cut).hash
    text = (cut / compiled.JSON_NAME).read_text()
    (cut / compiled.JSON_NAME).write_text(text[: text.index(gone) + len(gone)])
    scenario, _ = toml.read("pencil-trade")
    assert scenario is not None
    compile_scenario(replace(scenario, title=wanted)).rename(cache_directory() / "0-mentions")
    assert compiled_with(gone) is None
    found = compiled_with(wanted)
    assert found is not None
    assert found.directory == whole


def test_others_are_not_opened(kept: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """To open one is to map all its arrays: of hundreds that takes seconds."""
    last, load = max(kept), compiled.load  # by name, as they are looked through
    wanted = load(last).hash
    opened: list[Path] = []

    def opening(directory: Path) -> compiled.Compiled:
        opened.append(directory)
        return load(directory)

    monkeypatch.setattr(compiled, "load", opening)
    assert compiled_with(wanted) is not None
    assert opened == [last]
