"""A bug report: whole without daemons and without systemd, readable by its owner alone, free of secrets."""

from __future__ import annotations

import json
import os
import re
import tarfile
from pathlib import Path

import pytest

from energyctl import evidence, systemd
from energyctl.app import run as run_words
from energyctl.exits import ProblemError
from energyctl.session import Session

SECRETS = ("SECRETkey1", "SECRETpass2", "SECRETquery3", "SECRETbearer4", "SECRETenv5", "REGISTERS6")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Configuration with secrets, a key file, a failure record, and registers of homes."""
    etc, state = tmp_path / "etc", tmp_path / "state"
    (etc / "conf.d").mkdir(parents=True)
    (state / "failures").mkdir(parents=True)
    (state / "homes").mkdir()
    (etc / "energy-market.toml").write_text(
        'title = "ours"\nkey_file = "owm.key"\napi_key = "SECRETkey1"\n'
        'url = "https://user:SECRETpass2@h/?appid=SECRETquery3"\n'
    )
    (etc / "conf.d" / "more.toml").write_text("seed = 3\n")
    (etc / "owm.key").write_text("SECRETkey1\n")
    record = '{"unit": "energy-weather.service", "said": ["Authorization: Bearer SECRETbearer4"]}\n'
    (state / "failures" / "2026-energy-weather.service.json").write_text(record)
    (state / "homes" / "shard-1-2.state").write_text("REGISTERS6")
    monkeypatch.setattr(evidence, "CONFIGURATION", etc)
    monkeypatch.setattr(evidence, "STATE", state)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "states"))  # whoever runs the tests may have a market
    monkeypatch.setenv("SOME_TOKEN", "SECRETenv5")
    return tmp_path


def report(tmp_path: Path, *words: str) -> dict[str, str]:
    """Make one for a market that is not there; its parts by name."""
    file = tmp_path / "report.tar.gz"
    code = run_words(
        Session(as_json=True, run=str(tmp_path / "none")), ["bug-report", "-o", str(file), *words]
    )
    assert code == 0
    with tarfile.open(file) as archive:
        assert {member.name.partition("/")[0] for member in archive} == {"report"}
        made = {}
        for member in archive:
            data = archive.extractfile(member)
            assert data is not None
            made[member.name.removeprefix("report/")] = data.read().decode()
    return made


def test_it_is_made_with_the_daemons_down(machine: Path) -> None:
    """What can be had is there: versions, states, doctor, configuration, failures; the rest is told."""
    parts = report(machine)
    assert {
        "README.txt", "versions.json", "status.json", "doctor.json", "configuration/energy-market.toml",
        "configuration/conf.d/more.toml", "failures/2026-energy-weather.service.json",
    } <= set(parts)  # fmt: skip
    assert 'title = "ours"' in parts["configuration/energy-market.toml"]
    assert '"not_running"' in parts["status.json"]
    for left_out in ("ledger.json", "homes' registers and rows", "journal.txt", "up.log"):
        assert f"  {left_out}: " in parts["README.txt"]


def test_no_secret_and_no_register_is_in_it(machine: Path) -> None:
    """Not the keys, not the key file, not the environment, not what homes have metered."""
    parts = report(machine)
    text = "".join(parts.values())
    assert [secret for secret in SECRETS if secret in text] == []
    assert "owm.key" in parts["configuration/energy-market.toml"]
    assert "[redacted]" in parts["configuration/energy-market.toml"]


def test_what_homes_trade_is_left_out_wherever_it_is_told(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Journal, states of units, failure records of single homes: that they traded is seen, not what."""
    trade = "home 7 buys 250 Wh at 0.190000 €/kWh, receipt 8"
    status = "slot 5: given 0.251 kWh, received 0.000 kWh, +0.0475 €, since the start +9.53 €"
    programs = machine / "bin"
    programs.mkdir()
    said = {
        "systemctl": f"Id=energy-home@7.service\nLoadState=loaded\nStatusText={status}",
        "journalctl": f"host energy-home@7[5]: {trade}\nhost energy-market[4]: slot 5 settled",
    }
    for name, text in said.items():
        (programs / name).write_text(f"#!/bin/sh\ncat {programs / name}.says\n")
        (programs / f"{name}.says").write_text(text)
        (programs / name).chmod(0o755)
    record = machine / "state" / "failures" / "2027-energy-home@7.service.json"
    record.write_text(
        json.dumps({"unit": "energy-home@7.service", "said": [trade, "home 7 sells 253 Wh", "lost"]})
    )
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(systemd, "is_booted", lambda: True)
    monkeypatch.setattr(evidence, "SYSTEM_RUN", machine / "none")
    parts = report(machine)
    assert not re.search(r"25[0-9] Wh|0\.25[0-9] kWh|0\.0475 |9\.53 |0\.190000", "".join(parts.values()))
    assert (
        "energy-home@7[5]: home 7 [left out]\nhost energy-market[4]: slot 5 settled" in parts["journal.txt"]
    )
    assert json.loads(parts[f"failures/{record.name}"])["said"] == [
        "home 7 [left out]",
        "home 7 [left out]",
        "lost",
    ]
    assert "4 times a home's energy and money" in parts["README.txt"]


def test_only_its_owner_may_read_it(machine: Path) -> None:
    """Mode 0600 from the first byte on, whatever the umask; a file that is there is not overwritten."""
    before = os.umask(0)
    try:
        report(machine)
    finally:
        os.umask(before)
    assert (machine / "report.tar.gz").stat().st_mode & 0o777 == 0o600
    content = (machine / "report.tar.gz").read_bytes()
    with pytest.raises(ProblemError, match="is there already"):
        report(machine)
    assert (machine / "report.tar.gz").read_bytes() == content


def test_a_closed_door_is_named(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that says nothing to this user is left out, with the group that helps."""
    programs = machine / "bin"
    programs.mkdir()
    for name, text in (("systemctl", "echo 'Environment=X=SECRETenv5'; echo Id=x"), ("journalctl", "exit 0")):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(systemd, "is_booted", lambda: True)
    monkeypatch.setattr(evidence, "SYSTEM_RUN", machine / "none")
    parts = report(machine)
    assert (
        "journal.txt: empty, or no right to read it: sudo usermod -aG systemd-journal" in parts["README.txt"]
    )
    assert parts["units.txt"] == "Id=x\n"


def test_a_failed_report_leaves_no_file(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk while it is written: nothing is left that looks like a report."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(evidence.Report, "write", full)
    with pytest.raises(OSError, match="No space"):
        report(machine)
    assert not (machine / "report.tar.gz").exists()
