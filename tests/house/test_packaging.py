"""The package: locks in step with pyproject, version and changelog agree, README's commands exist."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK: dict[str, Any] = tomllib.loads((ROOT / "uv.lock").read_text())
MANUAL = sorted((ROOT / "packaging/man").glob("*.[1-8]"))
NAME = "0123456789abcdef" * 2
"""As of a compiled scenario."""
TREE = "usr/lib/energy-market-1-20250101T000000Z.1"
CARRIED = f"{TREE}/lib/python3.11/site-packages/energymarket/scenario/precompiled"
CACHE = "var/cache/energy-market"
SCRIPTS: dict[str, str] = PYPROJECT["project"]["scripts"]


def locked_project() -> dict[str, Any]:
    (project,) = [package for package in LOCK["package"] if package["name"] == "energy-market"]
    return dict(project)


def plain(requirements: list[str]) -> set[tuple[str, str]]:
    parsed = [Requirement(text) for text in requirements]
    return {(canonicalize_name(one.name), str(one.specifier)) for one in parsed}


def locked(entries: list[dict[str, str]]) -> set[tuple[str, str]]:
    return {
        (entry["name"], str(Requirement(f"x{entry.get('specifier', '')}").specifier)) for entry in entries
    }


def test_lock_is_in_step_with_pyproject() -> None:
    """The lock was made from the dependencies that pyproject.toml names today."""
    project, metadata = PYPROJECT["project"], locked_project()["metadata"]
    wanted = plain(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted |= plain(extra)
    assert locked(metadata["requires-dist"]) == wanted
    groups = {name: plain(group) for name, group in PYPROJECT["dependency-groups"].items()}
    assert {name: locked(group) for name, group in metadata["requires-dev"].items()} == groups
    assert locked_project()["version"] == project["version"]


def pins(name: str) -> set[tuple[str, str]]:
    text = (ROOT / "packaging/lock" / name).read_text()
    return {(m[1], m[2]) for m in re.finditer(r"^([a-z0-9._-]+)==([^ \\]+)", text, re.MULTILINE)}


@pytest.mark.parametrize("name", ["build.txt", "small.txt", "run.txt", "ray.txt", "test.txt"])
def test_lists_hold_what_the_lock_holds(name: str) -> None:
    """Every pin of a list that the bootstrap installs from stands in the lock, with the lock's hashes."""
    versions = {(package["name"], package["version"]) for package in LOCK["package"]}
    assert pins(name)
    assert pins(name) <= versions
    text = (ROOT / "packaging/lock" / name).read_text()
    hashes = set(re.findall(r"--hash=(sha256:[0-9a-f]{64})", text))
    known = set(re.findall(r'hash = "(sha256:[0-9a-f]{64})"', (ROOT / "uv.lock").read_text()))
    assert hashes <= known


def test_lists_hold_all_that_is_named() -> None:
    """The run list has every dependency and extra but Ray's, which has a list; the test list has all."""
    project = PYPROJECT["project"]
    extras = dict(project["optional-dependencies"])
    ray = extras.pop("ray")
    runs = {
        name for name, _ in plain([*project["dependencies"], *(one for e in extras.values() for one in e)])
    }
    assert runs <= {name for name, _ in pins("run.txt")}
    assert {name for name, _ in plain([*project["dependencies"], *ray])} <= {n for n, _ in pins("ray.txt")}
    assert "ray" not in {name for name, _ in pins("run.txt")}
    assert pins("run.txt") | pins("ray.txt") <= pins("test.txt")
    assert {name for name, _ in plain(PYPROJECT["dependency-groups"]["dev"])} <= {
        name for name, _ in pins("test.txt")
    }


def test_lock_names_the_public_index_only() -> None:
    """No index of somebody's own machine is in the lock or in the lists."""
    hosts = re.findall(r"\b(?:https?|file)://[^/\"\s]*", (ROOT / "uv.lock").read_text())
    assert set(hosts) == {"https://pypi.org", "https://files.pythonhosted.org"}
    for path in (ROOT / "packaging/lock").glob("*.txt"):
        assert "://" not in path.read_text(), path


def test_changelog_begins_with_the_version() -> None:
    """The first version in the changelog is pyproject's, and the module says no other."""
    versions = re.findall(r"^## \[?([0-9][^\]\s]*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == PYPROJECT["project"]["version"]


def test_installed_version_is_the_trees() -> None:
    """What is installed here was made from this pyproject.toml."""
    try:
        installed = importlib.metadata.version("energy-market")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("energy-market is not installed here: ./test does it")
    assert installed == PYPROJECT["project"]["version"]


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_console_script_has_its_function(script: str) -> None:
    """Every console script leads to a function that is there."""
    module, _, function = SCRIPTS[script].partition(":")
    path = Path(*module.split(".")).with_suffix(".py")
    found = [base / path for base in (ROOT / "daemons", ROOT / "ctl") if (base / path).exists()]
    assert found, f"{script}: no module {module}"
    tree = ast.parse(found[0].read_text())
    bound = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    bound |= {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert function in bound


def test_readme_names_commands_that_exist() -> None:
    """README's commands are programs of the tree, and its links lead to files."""
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"^\s*\$?\s*(\./[\w/]+)", readme, re.MULTILINE)
    assert {"./run", "./test"} <= set(commands)
    for command in commands:
        assert os.access(ROOT / command, os.X_OK), command
    for link in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / link).exists(), link


def test_ci_calls_the_tests_and_nothing_else() -> None:
    """.ci/run is one line beside its first."""
    lines = [
        line for line in (ROOT / ".ci/run").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert len(lines) == 1
    assert lines[0].rstrip('"').endswith("/test")


@pytest.mark.needs("shellcheck")
@pytest.mark.parametrize(
    "script",
    [
        "run",
        "test",
        "packaging/setup.sh",
        "packaging/kept.sh",
        "packaging/lock/refresh",
        "packaging/install",
        "packaging/uninstall",
        "packaging/wheels",
        "packaging/ray/install",
    ],
)
def test_shell_scripts_pass_shellcheck(script: str) -> None:
    """The shell scripts are POSIX sh to shellcheck's satisfaction."""
    answer = subprocess.run(
        ["shellcheck", "--shell=sh", "--external-sources", "--source-path=SCRIPTDIR", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout


def test_wheel_carries_both_packages_and_their_data(tmp_path: Path) -> None:
    """The wheel holds every module and shipped scenario of the tree, under flat import names."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    answer = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    (wheel,) = tmp_path.glob("*.whl")
    listing = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheel)], capture_output=True, text=True, check=True
    ).stdout
    names = {line.split()[0] for line in listing.splitlines()[1:]}
    for base in (ROOT / "daemons", ROOT / "ctl"):
        for path in base.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert str(path.relative_to(base)) in names
    shared = {name.partition(".data/data/")[2] for name in names}
    wanted = {f"share/man/man{page.suffix[1:]}/{page.name}" for page in MANUAL}
    wanted |= {
        "share/bash-completion/completions/energyctl",
        "share/fish/vendor_completions.d/energyctl.fish",
    }
    assert wanted <= shared

    units = {path.relative_to(ROOT / "systemd/system") for path in (ROOT / "systemd/system").rglob("*.*")}
    assert {f"energyctl/units/{path}" for path in units if not path.name.endswith(".d")} <= names


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A tree as packaging/install leaves it, as far as packaging/uninstall looks."""
    for directory in (f"{CARRIED}/{NAME}", CACHE, "etc/cron.daily"):
        (tmp_path / directory).mkdir(parents=True)
    for file in (".energy-market", "installed.files", "installed.directories"):
        (tmp_path / TREE / file).touch()
    (tmp_path / "usr/lib/energy-market").symlink_to(Path(TREE).name)
    for name in ("scenario.json", "scenario.toml", "weather.npy"):
        (tmp_path / CARRIED / NAME / name).write_text(name)
    (tmp_path / CACHE / "scenario").symlink_to(f"/{CARRIED}/{NAME}")
    return tmp_path


def uninstall(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "packaging/uninstall"), *words]
    environment = os.environ | {"DESTDIR": str(tree)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def below(tree: Path) -> set[str]:
    return {str(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_dir() or path.is_symlink()}


def test_uninstall_keeps_the_scenario_for_whom_the_cache_belongs_to(installed: Path) -> None:
    """What the ledger needs lies in the cache, and the cache's owner may compile beside it."""
    owner = 12345 if os.geteuid() == 0 else os.geteuid()
    if owner == 12345:
        os.chown(installed / CACHE, owner, owner)
    done = uninstall(installed)
    assert done.returncode == 0, done.stderr
    kept = installed / CACHE / "compiled" / NAME
    assert str((installed / CACHE / "scenario").readlink()) == f"/{CACHE}/compiled/{NAME}"
    assert {path.name: path.read_text() for path in kept.iterdir()} == {
        name: name for name in ("scenario.json", "scenario.toml", "weather.npy")
    }
    assert {path.stat().st_uid for path in (kept.parent, kept, *kept.iterdir())} == {owner}
    assert kept.stat().st_mode & 0o777 == 0o755
    assert not (installed / "usr/lib/energy-market").exists()


@pytest.mark.parametrize(
    "link",
    [
        f"/{CARRIED}/../../../../../../../../../secret",
        f"/{CARRIED}/{NAME[1:]}",
        f"/{CARRIED}/elsewhere",
        f"/usr/lib/energy-market-gone/precompiled/{NAME}",
    ],
    ids=["upwards", "no hash", "another link", "gone"],
)
def test_uninstall_follows_no_link_out_of_an_installation(installed: Path, link: str) -> None:
    """User energy-market writes the link: it cannot make root copy a file, nor stop an uninstallation."""
    for place in (installed / "secret", installed / CARRIED / NAME[1:]):
        place.mkdir()
        (place / "scenario.json").write_text("secret")
    (installed / CARRIED / "elsewhere").symlink_to(installed / "secret")
    (installed / CACHE / "scenario").unlink()
    (installed / CACHE / "scenario").symlink_to(link)
    done = uninstall(installed)
    assert done.returncode == 0, done.stderr
    assert below(installed) == {f"{CACHE}/scenario", "secret/scenario.json"}


def test_uninstall_writes_through_no_link_of_the_cache(installed: Path) -> None:
    """A `compiled` that is a link to a directory of root's is refused before anything is done."""
    (installed / CACHE / "compiled").symlink_to(installed / "etc/cron.daily")
    before = below(installed)
    done = uninstall(installed)
    assert done.returncode == 1
    assert "is a link" in done.stderr
    assert below(installed) == before
    assert uninstall(installed, "--purge").returncode == 0
    assert below(installed) == set()


@pytest.mark.parametrize("script", ["install", "wheels", "setup.sh"])
def test_scripts_start_python_without_the_present_directory(script: str) -> None:
    """Who installs as root in somebody's directory imports nothing of it: -I, or -P for a user's own pip."""
    text = (ROOT / "packaging" / script).read_text()
    starts = re.findall(r"(?:python3?|candidate|compiler|name|\$1)\"((?: -\w)*) -[mc] ", text)
    assert script == "wheels" or starts
    assert set(starts) <= {" -I", " -P"}


@pytest.mark.parametrize("words", [("install", "--wheels", "wheels"), ("wheels", "out")], ids=" ".join)
@pytest.mark.parametrize("way", ["", "PYTHONPATH"])
def test_installing_runs_no_module_that_lies_about(tmp_path: Path, words: tuple[str, ...], way: str) -> None:
    """A venv.py in the present directory, or on a path that others have set, is not run."""
    (tmp_path / "venv.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    place = tmp_path / "elsewhere" if way else tmp_path
    (place / "wheels").mkdir(parents=True)
    (place / "wheels/energy_market-1-py3-none-any.whl").touch()
    environment = {"PATH": os.environ["PATH"], "DESTDIR": str(tmp_path / "tree"), "PYTHON": sys.executable}
    environment |= {"PIP_NO_INDEX": "1"} | ({way: str(tmp_path)} if way else {})
    command = [str(ROOT / "packaging" / words[0]), *words[1:]]
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode != 0
    assert "nothing was changed" in done.stderr or "could not be had" in done.stderr, done.stderr
    assert not (tmp_path / "ran").exists()
