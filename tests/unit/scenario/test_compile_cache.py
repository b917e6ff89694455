"""Compiled once, found again, and refused when it is not what it says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from energymarket.runtime.clock import monotonic_s
from energymarket.scenario import __main__ as program
from energymarket.scenario import toml
from energymarket.scenario.cache import cache_directory, locate, source_hash
from energymarket.scenario.compile import compile_into, compile_scenario
from energymarket.scenario.compile_errors import CompileError
from energymarket.scenario.compiled import CompiledError, load
from energymarket.scenario.schema import Scenario
from tests.ipc.processes import environment


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def shipped(name: str) -> Scenario:
    """A shipped scenario."""
    scenario, problems = toml.read(name)
    assert scenario is not None, toml.render_problems(problems)
    return scenario


def test_a_scenario_is_compiled_once(cache: Path) -> None:
    """First there is nothing; then it is found by its hash; the second time nothing is written."""
    scenario = shipped("pencil-gift")
    assert locate(scenario) is None
    directory = compile_scenario(scenario)
    assert directory == cache / "energy-market" / "compiled" / source_hash(scenario) == locate(scenario)
    before = {file: file.stat().st_mtime_ns for file in directory.iterdir()}
    assert compile_scenario(scenario) == directory
    assert {file: file.stat().st_mtime_ns for file in directory.iterdir()} == before
    assert [each.name for each in cache_directory().iterdir()] == [directory.name]


def test_the_same_scenario_has_the_same_hash_whenever_it_is_compiled(tmp_path: Path) -> None:
    """Two compilations agree in every byte's hash, another seed or title does not."""
    scenario = replace(shipped("classic"), homes_count=6)
    hashes = []
    for number, each in enumerate((scenario, scenario, replace(scenario, seed=99))):
        place = tmp_path / str(number)
        place.mkdir()
        hashes.append(compile_into(place, each))
    assert hashes[0] == hashes[1] != hashes[2]


def test_comments_and_workers_are_no_part_of_the_name() -> None:
    """Who asks for workers, or writes a comment, needs no compiler; another seed is another scenario."""

    def name(text: str) -> str:
        scenario, problems = toml.parse(text, "x.toml")
        assert scenario is not None, toml.render_problems(problems)
        return source_hash(scenario)

    text = shipped("pencil-gift").text
    assert name(text) == name(f"# why\n{text}\n[dispatch]\nworkers = 2\nport = 4000\n")
    assert name(text) != name(text.replace("seed = ", "seed = 1"))


def test_a_data_file_is_part_of_the_name(tmp_path: Path) -> None:
    """With a changed CSV beside it a scenario is compiled anew."""
    file = tmp_path / "load.csv"
    text = (
        shipped("pencil-gift").text
        + '\n[[home]]\nname = "m"\n[home.load]\nkind = "csv"\nfile = "load.csv"\ncolumn = "w"\n'
    )
    scenario, problems = toml.parse(text, str(tmp_path / "x.toml"))
    assert scenario is not None, toml.render_problems(problems)
    file.write_text("w\n1\n", encoding="utf-8")
    first = source_hash(scenario)
    file.write_text("w\n2\n", encoding="utf-8")
    assert source_hash(scenario) != first


def test_every_shipped_scenario_compiles() -> None:
    """All of them; weather and tables are whole, and the arrays agree with their hashes."""
    for name in toml.shipped():
        if name == "default":
            continue
        compiled = load(compile_scenario(shipped(name)))
        compiled.verify()
        assert compiled.weather["slot"][0] == compiled.period.first_slot
        assert len(compiled.homes["policy"]) == compiled.homes_count


@pytest.mark.alone
def test_the_default_scenario_compiles_within_half_a_minute() -> None:
    """1,000 homes, a year: under 30 s, libraries imported included; loading reads no array."""
    begin = monotonic_s()
    scenario = shipped("default")
    directory = compile_scenario(scenario)
    assert monotonic_s() - begin < 30
    begin = monotonic_s()
    compiled = load(directory)
    assert monotonic_s() - begin < 1
    compiled.verify()
    assert compiled.homes_count == scenario.homes_count == 1_000
    assert compiled.period.slots == 35_040


def test_arrays_cannot_be_written() -> None:
    """The arrays are mapped read-only."""
    compiled = load(compile_scenario(shipped("pencil-gift")))
    with pytest.raises(ValueError, match="read-only"):
        compiled.homes["policy"][0] = 2


def test_a_flipped_byte_is_found() -> None:
    """In the JSON at loading; in an array when it is verified."""
    directory = compile_scenario(shipped("pencil-gift"))
    path = directory / "homes.policy.npy"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 2
    path.write_bytes(raw)
    with pytest.raises(CompiledError, match=r"homes\.policy\.npy was changed"):
        load(directory).verify()
    path = directory / "scenario.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"seed": ', '"seed": 1'), encoding="utf-8")
    with pytest.raises(CompiledError, match="does not agree with its hash"):
        load(directory)


def test_what_is_no_compiled_scenario_is_refused(tmp_path: Path) -> None:
    """Nothing there, no JSON, another schema, a cut array: each has its words."""
    with pytest.raises(CompiledError, match="no compiled scenario"):
        load(tmp_path)
    (tmp_path / "scenario.json").write_text("{", encoding="utf-8")
    with pytest.raises(CompiledError, match="is no JSON"):
        load(tmp_path)
    (tmp_path / "scenario.json").write_text('{"schema": 999}', encoding="utf-8")
    with pytest.raises(CompiledError, match="has schema 999"):
        load(tmp_path)
    directory = compile_scenario(shipped("pencil-gift"))
    np.save(directory / "weather.npy", np.zeros(1))
    with pytest.raises(CompiledError, match="not what was compiled"):
        load(directory)


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words name the directory and the variable that changes it."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(CompileError, match="set XDG_CACHE_HOME"):
        compile_scenario(shipped("pencil-gift"))


def test_a_failed_compilation_leaves_nothing() -> None:
    """A scenario that names a missing file is refused, and the cache is as empty as before."""
    scenario = shipped("default")
    broken = replace(
        scenario,
        weather=replace(scenario.weather, source=type(scenario.weather.source)("epw"), file="no.epw"),
    )
    with pytest.raises(CompileError, match=r"no\.epw cannot be read"):
        compile_scenario(broken)
    assert list(cache_directory().iterdir()) == []


def test_finding_and_loading_imports_no_library_of_the_field() -> None:
    """`locate` and `load` run without pandas, pvlib and scipy: daemons start fast and small."""
    compile_scenario(shipped("pencil-gift"))
    code = (
        "import sys; from energymarket.scenario import toml;"
        "from energymarket.scenario.compile import locate;"
        "from energymarket.scenario.compiled import load; s, _ = toml.read('pencil-gift'); load(locate(s));"
        "print(sorted({'pandas', 'pvlib', 'scipy', 'demandlib', 'windpowerlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


WITHOUT_THE_LIBRARIES = """
import sys
for name in ("pandas", "pvlib", "scipy", "demandlib", "windpowerlib"):
    sys.modules[name] = None
from energymarket.scenario.__main__ import main
sys.exit(main(["compile", *sys.argv[1:]]))
"""


def test_a_scenario_by_hand_needs_no_library_of_the_field() -> None:
    """Where the compiler's extra is not installed: the same arrays for `pencil-gift`, 78 for `classic`."""

    def compiled_without(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WITHOUT_THE_LIBRARIES, name, "--json"]
        return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)

    done = compiled_without("pencil-gift")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    shutil.rmtree(answer["directory"])
    assert load(compile_scenario(shipped("pencil-gift"))).hash == answer["hash"]
    refused = compiled_without("classic")
    assert refused.returncode == 78
    assert "nothing here can compile it" in refused.stderr
    assert "packaging/install --compiler" in refused.stderr
    assert list(cache_directory().glob(".draft-*")) == []


def test_the_program_compiles_and_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    """`compile --json` names the directory and the hash; `list` marks what lies compiled."""
    assert program.main(["compile", "pencil-gift", "--seed", "5", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert load(Path(answer["directory"])).hash == answer["hash"]
    assert answer["seed"] == 5
    assert program.main(["compile", "pencil-gift"]) == 0
    capsys.readouterr()
    assert program.main(["list", "--json"]) == 0
    marked = {row["name"]: row["compiled"] for row in json.loads(capsys.readouterr().out)}
    assert marked["pencil-gift"]
    assert not marked["default"]


def test_the_program_compiles_several_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row each, in their order, and each the scenario that it is alone; a mistake in one is told."""
    file = tmp_path / "my.toml"
    file.write_text(shipped("pencil-gift").text)
    assert program.main(["compile", str(file), "pencil-gift", "pencil-trade", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["my", "pencil-gift", "pencil-trade"]
    assert program.main(["compile", "pencil-trade", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hash"] == rows[2]["hash"]
    assert program.main(["compile", "pencil-gift", "pencil-trade"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "pencil-gift",
        "pencil-trade",
    ]
    assert program.main(["compile", "pencil-gift", "defolt"]) == 78


@pytest.mark.parametrize(
    ("words", "before", "after", "kept"),
    [
        ([], "gamma = 0.99", "gamma = 0.98", True),
        (["--seed", "5"], "gamma = 0.99", "gamma = 0.98", True),
        ([], "seed = 1", "seed = 2", False),
    ],
)
def test_a_ledger_keeps_its_scenario_while_only_the_price_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], before: str, after: str, kept: bool
) -> None:
    """A coefficient, which a reload brings too, makes no other run; another seed does."""
    file = tmp_path / "my.toml"
    file.write_text(shipped("classic").text)
    assert program.main(["compile", str(file), *words, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after))
    assert program.main(["compile", str(file), *words, "--begun-with", first["hash"], "--json"]) == 0
    assert (json.loads(capsys.readouterr().out)["hash"] == first["hash"]) == kept
    if words:  # the same file, but without the ledger's seed
        assert program.main(["compile", str(file), "--begun-with", first["hash"], "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["hash"] != first["hash"]


def test_the_program_refuses_with_78(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown scenario, and homes that a scenario cannot have, are errors of configuration."""
    assert program.main(["compile", "defolt"]) == 78
    assert "default" in capsys.readouterr().err
    assert program.main(["compile", "pencil-gift", "--homes", "7", "--json"]) == 78
    assert json.loads(capsys.readouterr().err)["code"] == 78


def test_what_is_shown_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    """`show` prints a file that parses to the same scenario."""
    assert program.main(["show", "pencil-gift"]) == 0
    again, problems = toml.parse(capsys.readouterr().out, "pencil-gift.toml")
    assert again is not None, toml.render_problems(problems)
    assert again.market == shipped("pencil-gift").market
