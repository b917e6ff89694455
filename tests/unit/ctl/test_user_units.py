"""The units of a user, made from the system's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from energyctl import user_units
from energyctl.exits import ProblemError
from energyctl.keeper import Keeper, keeper_of, means_users
from energyctl.user_units import LEFT_OUT, Place, made, place
from energyctl.verbs import install_units, uninstall_units

ROOT = Path(__file__).resolve().parents[3]
SYSTEM = ROOT / "systemd/system"
HERE = Place("/opt/my/bin/python", "%h/.local/state/energy-market")
NEW, OLD = 257, 252

TRIED = {
    "Environment", "ExecReload", "ExecStart", "ExecStop", "ExecStopPost", "IOSchedulingClass", "KillMode",
    "LimitCORE", "LimitNOFILE", "LockPersonality", "LogExtraFields", "MemoryDenyWriteExecute", "MemoryMax",
    "Nice", "NoNewPrivileges", "NotifyAccess", "RemainAfterExit", "Restart", "RestartMaxDelaySec",
    "RestartMode", "RestartPreventExitStatus", "RestartSec", "RestartSteps", "RestrictAddressFamilies",
    "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "RuntimeDirectory", "RuntimeDirectoryMode",
    "Slice", "Sockets", "SuccessExitStatus", "SyslogIdentifier",
    "SystemCallArchitectures", "SystemCallErrorNumber",
    "SystemCallFilter", "TasksMax", "TimeoutAbortSec", "TimeoutStartSec", "TimeoutStopSec", "Type", "UMask",
    "WatchdogSec",
}  # fmt: skip
"""What a user's manager of systemd 252 and 257 carries out without a warning, each tried by itself."""


def units(version: int = OLD) -> dict[str, str]:
    return made(HERE, version)


def values(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def service_keys(path: Path) -> set[str]:
    service = path.read_text().partition("[Service]\n")[2].partition("\n[")[0]
    lines = (line for line in service.splitlines() if line and line[0] not in "#[")
    return {line.partition("=")[0] for line in lines}


@pytest.mark.parametrize(
    "path", [*SYSTEM.glob("*.service"), *SYSTEM.glob("*.service.d/*")], ids=lambda path: path.name
)
def test_each_line_of_a_service_is_decided_on(path: Path) -> None:
    """A directive that is new in a system unit was either tried in a user's manager or is left out."""
    assert service_keys(path) - TRIED - set(LEFT_OUT) == set()


def test_nothing_of_the_systems_is_left_in_them() -> None:
    """No path, user, group or manager of the system, and no right that root would give."""
    for name, text in units(NEW).items():
        lines = [line for line in text.splitlines() if not line.startswith(("#", "Documentation="))]
        for system in ("/run/", "/var/", "/etc/", "/usr/lib/", "User=", "Group=", "--group", "PrivateIPC"):
            assert [line for line in lines if system in line] == [], name
        told = [line for line in lines if "systemctl" in line]
        assert all(line.count("systemctl") == line.count("systemctl --user") for line in told), name
        assert [line for line in lines if line.startswith("Exec") and "+/" in line] == [], name


def test_every_unit_is_there_under_its_name() -> None:
    """A user has the same units as the system, and drop-ins by the version of systemd."""
    plain = {path.name for path in SYSTEM.iterdir() if path.is_file()}
    assert set(units(OLD)) == plain
    dropins = {str(path.relative_to(SYSTEM)) for path in SYSTEM.glob("*.d/*-systemd-254.conf")}
    assert dropins
    assert set(units(NEW)) == plain | dropins


def test_programs_are_started_by_this_interpreter_apart_from_the_home() -> None:
    """The interpreter that runs energyctl, without PYTHON variables and without the working directory."""
    market = units()["energy-market.service"]
    (start,) = values(market, "ExecStart")
    assert start == (
        "/opt/my/bin/python -E -P -m energymarket.marketd --compiled %C/energy-market/scenario"
        " --config %E/energy-market/energy-market.toml --run %t/energy-market"
        " --state %h/.local/state/energy-market/market"
    )
    assert "PYTHONSAFEPATH=1" in values(market, "Environment")


def test_the_objects_are_removed_whatever_became_of_the_anchor() -> None:
    """Without a namespace of their own the objects go by the hook that runs after any end."""
    anchor = units()["energy-ipc.service"]
    removing, *forgetting = values(anchor, "ExecStopPost")
    assert removing.endswith("energymarket.anchor remove --run %t/energy-market")
    assert all("ipc.json" in each for each in forgetting)  # only after the objects that it names
    (before,) = values(anchor, "ExecStartPre")
    (after,) = values(anchor, "ExecStartPost")
    assert before.endswith("remove --run %h/.local/state/energy-market")
    assert after.endswith("ipc.json %h/.local/state/energy-market/ipc.json")


def test_a_user_starts_it_with_the_login() -> None:
    """There is no multi-user.target in a user's manager; sockets are closed to everybody else."""
    found = units()
    assert values(found["energy-market.target"], "WantedBy") == ["default.target"]
    for name in ("energy-meters.service", "energy-pv.service"):  # enabled, they come with the suite
        assert values(found[name], "WantedBy") == ["energy-market.target"]
    assert values(found["energy-trade.socket"], "SocketMode") == ["0600"]


def test_a_path_with_spaces_is_one_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter may lie anywhere; what no unit can hold is refused with its name."""
    monkeypatch.setattr(sys, "prefix", "/opt/my 100% venv")
    monkeypatch.setattr(sys, "executable", "/opt/my 100% venv/bin/python3")
    assert place({}).interpreter == '"/opt/my 100%% venv/bin/python3"'
    assert place({"XDG_STATE_HOME": "/data/state"}).state == "/data/state/energy-market"
    assert place({"XDG_STATE_HOME": "state"}).state == "%h/.local/state/energy-market"
    with pytest.raises(ProblemError, match="XDG_STATE_HOME"):
        place({"XDG_STATE_HOME": "/my data"})


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a service manager; the answer is its unit directory."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    return tmp_path / "config/systemd/user"


def test_units_come_and_go_and_what_is_somebody_elses_stays(alone: Path) -> None:
    """An edited configuration is kept; a file that we did not make is neither overwritten nor removed."""
    install_units.install_units(user=True)
    assert (alone / "energy-market.service").read_text().startswith(user_units.MARK)
    config = alone.parents[1] / "energy-market/energy-market.toml"
    config.write_text("mine")
    obsolete = alone / "energy-of-yesterday.service"
    obsolete.write_text(f"{user_units.MARK}x")
    install_units.install_units(user=True)
    assert (config.read_text(), obsolete.exists()) == ("mine", False)
    foreign = alone / "energy-check.service"
    foreign.write_text("[Service]\n")
    with pytest.raises(ProblemError, match=r"energy-check\.service"):
        install_units.install_units(user=True)
    uninstall_units.uninstall_units(user=True)
    assert [path.name for path in alone.rglob("*") if path.is_file()] == ["energy-check.service"]
    assert config.read_text() == "mine"


def test_print_writes_nothing(alone: Path) -> None:
    """`--print` answers with the texts and touches no file."""
    answer = install_units.install_units(user=True, show=True)
    assert "energy-market.service" in str(answer.data)
    assert not alone.exists()


def test_whose_units_are_meant(alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--user; or only a user's units are there. A run of `energyctl up` is no unit's."""
    monkeypatch.setattr("energyctl.keeper.SYSTEMS_UNITS", (str(tmp_path / "system"),))
    assert (means_users(user=False), means_users(user=True)) == (False, True)
    install_units.install_units(user=True)
    assert means_users(user=False)
    run_dir = tmp_path / "energy-market"
    assert keeper_of(run_dir) is Keeper.USER
    assert keeper_of(tmp_path / "other") is None
    run_dir.mkdir()
    (run_dir / "up.json").touch()
    assert keeper_of(run_dir) is None
    (tmp_path / "system").mkdir()
    (tmp_path / "system/energy-market.target").touch()
    assert not means_users(user=False)
    assert alone.exists()
