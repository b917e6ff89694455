"""What all tests share: what may be left out and how it is told, short runtime directories, IPC accounting.

With CI=true nothing may be left out: a skip is a failure, but for tests over the data sets that lie
beside the checkout and not in it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

ROOT: Final = Path(__file__).resolve().parent.parent
SHARED_DATA: Final = ROOT.parent / "shared" / "data"
NOT_IN_CHECKOUT: Final = "not part of the checkout: "
IN_CI: Final = os.environ.get("CI") == "true"
OWN_IPC: Final = pytest.StashKey[bool]()
MACHINE: Final = pytest.StashKey[ExitStack]()
IS_ALONE: Final = pytest.StashKey[bool]()
_CLONE_NEWIPC: Final = 0x08000000
_OF_OTHERS: Final = ("fontconfig", "matplotlib", "pip")
"""What other programs keep in a user's cache, and would make again in another one."""
_LOCKS: Final = Path(tempfile.gettempdir()) / f"energy-market-tests-{os.getuid()}"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`./test --long` plays the long form of the tests that have one."""
    parser.addoption("--long", action="store_true", help="hundreds of cycles and kills instead of a few")


@pytest.fixture(scope="session")
def is_long(pytestconfig: pytest.Config) -> bool:
    """Whether the long form of a test is wanted."""
    return bool(pytestconfig.getoption("--long"))


def pytest_configure(config: pytest.Config) -> None:
    """Give this process an IPC namespace of its own where it may: leaks end with it, workers do not meet.

    A shell that runs the tests in the background has SIGINT ignored, and whoever they start would too.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("suite", deadline=None)  # a busy machine is no mistake of a test's
    settings.load_profile("suite")
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _cache_of_this_run(config)
    config.stash[OWN_IPC] = os.geteuid() == 0 and ctypes.CDLL(None).unshare(_CLONE_NEWIPC) == 0


def _cache_of_this_run(config: pytest.Config) -> None:
    """Compiled scenarios: one cache for all workers of a run, and none of what this user has compiled."""
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    made = Path(tempfile.mkdtemp(prefix="energy-market-cache-"))
    for name in _OF_OTHERS:
        (users / name).mkdir(parents=True, exist_ok=True)
        (made / name).symlink_to(users / name)
    os.environ["XDG_CACHE_HOME"] = str(made)
    config.add_cleanup(lambda: shutil.rmtree(made, ignore_errors=True))


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """What a program's `main` that ran in this process has made of its signals ends with the test."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


# ---------------------------------------------------------------- what is left out


def _packages() -> dict[str, str]:
    """Program -> Debian package, from the one list of them."""
    lines = (line.partition("#")[0].split() for line in (ROOT / "tests/needs.txt").read_text().splitlines())
    return {words[0]: words[1] for words in lines if words}


def _lacks(need: str) -> str | None:
    if need == "root":
        return None if os.geteuid() == 0 else "needs root"
    package = _packages()[need]  # a need that is not in the list is a mistake of the test
    # Some programs of administrators lie where the path of a user does not lead.
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return None if shutil.which(need, path=path) else f"needs {need} (Debian: apt install {package})"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave a test out whose needs are not met here."""
    lacking = [
        reason for marker in item.iter_markers("needs") for need in marker.args if (reason := _lacks(need))
    ]
    if lacking:
        pytest.skip("; ".join(lacking))


def _skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = _skip_reason(report)
        if not reason.startswith(NOT_IN_CHECKOUT):
            report.outcome = "failed"
            report.longrepr = f"left out, and in CI nothing may be left out: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure in CI."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Likewise for a module that leaves itself out."""
    report = yield
    _refuse_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was left out and why, once per reason."""
    tests: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        tests.setdefault(_skip_reason(report), []).append(report.nodeid)
    if tests:
        terminalreporter.section("left out on this machine")
    for reason, names in sorted(tests.items()):
        terminalreporter.line(f"{reason}:")
        for name in sorted(names):
            terminalreporter.line(f"    {name}")


# ---------------------------------------------------------------- tests that want the machine alone


@contextmanager
def _held(name: str, how: int) -> Iterator[None]:
    _LOCKS.mkdir(mode=0o700, exist_ok=True)
    with (_LOCKS / name).open("w") as file:
        fcntl.flock(file, how)
        yield


def _wants_to_be_alone(item: pytest.Item | None) -> bool:
    return item is not None and item.get_closest_marker("alone") is not None


def _shares(item: pytest.Item) -> bool:
    """Whether a test uses what is made once for its module."""
    info = getattr(item, "_fixtureinfo", None)
    known = info.name2fixturedefs.values() if info is not None else ()
    return any(each.scope == "module" for fixtures in known for each in fixtures)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker runs all tests marked `alone`, one after the other: the others are waited for once.

    One worker also runs all tests of a module that share what is made for it: else each worker made its own.
    """
    for item in items:
        if _wants_to_be_alone(item):
            item.add_marker(pytest.mark.xdist_group("alone"))
        elif item.get_closest_marker("xdist_group") is None and _shares(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Run a test marked `alone` while no other worker runs one; outermost, so that waiting costs no timeout.

    The gate lets nobody pass who comes after a test that waits to be alone, so it is not starved. Between
    two of them the machine is not given away.
    """
    alone = _wants_to_be_alone(item)
    machine = item.config.stash.setdefault(MACHINE, ExitStack())
    if not item.config.stash.get(IS_ALONE, default=False):
        with _held("gate", fcntl.LOCK_EX):
            machine.enter_context(_held("machine", fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
    try:
        return (yield)
    finally:
        item.config.stash[IS_ALONE] = alone and _wants_to_be_alone(nextitem)
        if not item.config.stash[IS_ALONE]:
            machine.close()


# ---------------------------------------------------------------- fixtures


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data sets beside the checkout; left out where there are none."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"{NOT_IN_CHECKOUT}{SHARED_DATA.parent.name}/{SHARED_DATA.name}")
    return SHARED_DATA


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """An empty runtime directory with a short path: the address of a Unix socket has room for 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="em-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def sysv_objects() -> set[tuple[str, int, int]]:
    """(kind, key, id) of all System V objects of this IPC namespace."""
    found = set()
    for kind in ("msg", "sem", "shm"):
        for line in Path("/proc/sysvipc", kind).read_text().splitlines()[1:]:
            key, number = line.split()[:2]
            found.add((kind, int(key), int(number)))
    return found


@contextmanager
def no_ipc_left_by(config: pytest.Config) -> Iterator[None]:
    """Fail if System V objects are there after it that were not before it.

    Workers without an IPC namespace of their own (they are not root, or in a container) hold a lock
    meanwhile, so tests that make such objects should all be in here.
    """
    with ExitStack() if config.stash[OWN_IPC] else _held("ipc", fcntl.LOCK_EX):
        before = sysv_objects()
        yield
        left = sysv_objects() - before
    assert not left, f"left behind (kind, key, id): {sorted(left)}"


@pytest.fixture
def no_ipc_left(pytestconfig: pytest.Config) -> Iterator[None]:
    """The test leaves no System V object."""
    with no_ipc_left_by(pytestconfig):
        yield
