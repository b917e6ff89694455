"""The machines that the tests of a worker share, made when first asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.system import wheels as built
from tests.system.bases import ThisMachine, debian13
from tests.system.machine import Machine

HERE: Final = Path(__file__).resolve().parent


def lacking() -> str | None:
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which("systemd-nspawn") is None:
        return "needs systemd-nspawn (Debian: apt install systemd-container)"
    if not Path("/usr/bin/python3").exists() or not Path("/lib/systemd/systemd").exists():
        return "needs systemd and the system's Python on this machine, whose tree the test machine has"
    probe = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False, capture_output=True
    )
    return None if probe.returncode == 0 else "needs to be allowed to mount"


def _plays(item: pytest.Item) -> bool:
    """Whether a test plays on its machine: on both, but where a mark names the one that is enough."""
    mark, spec = item.get_closest_marker("on"), getattr(item, "callspec", None)
    return mark is None or spec is None or spec.params.get("machine") in {None, *mark.args}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of one machine run one after the other, in one worker; the two machines run side by side."""
    if not config.getoption("--long"):
        config.hook.pytest_deselected(items=[item for item in items if not _plays(item)])
        items[:] = filter(_plays, items)
    for item in items:
        spec = getattr(item, "callspec", None)
        if spec is not None and "machine" in spec.params and item.path.parent == HERE:
            item.add_marker(pytest.mark.xdist_group(f"machine-{spec.params['machine']}"))
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of this version for the system's Python, the same for all workers."""
    why = lacking()
    if why:
        pytest.skip(why)
    place = tmp_path_factory.getbasetemp()
    return built.build(place.parent if "PYTEST_XDIST_WORKER" in os.environ else place)


@pytest.fixture(scope="session", params=["here", "debian13"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A booted machine with the suite installed and nothing started."""
    why = lacking()
    if why:
        pytest.skip(why)
    if request.param == "debian13" and shutil.which("mmdebstrap") is None:
        pytest.skip("needs mmdebstrap (Debian: apt install mmdebstrap)")
    with ExitStack() as stack:
        base = (
            ThisMachine(wheels=request.getfixturevalue("wheels"))
            if request.param == "here"
            else stack.enter_context(debian13())
        )
        made = Machine(f"energy-test-{base.name}-{os.getpid()}", base)
        stack.callback(made.close)
        yield made.open()


@pytest.fixture
def suite(machine: Machine) -> Machine:
    """The machine with the whole suite serving."""
    if not machine.all_serve():
        machine.start()
    return machine
