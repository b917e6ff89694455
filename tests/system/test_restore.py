"""The restore drill under a real systemd: backed up by the unit, lost, restored, and going on from there."""

from __future__ import annotations

import json

import pytest

from tests.system.machine import Machine

pytestmark = [pytest.mark.needs("systemd-nspawn", "mmdebstrap"), pytest.mark.on("debian13")]

STATE = "/var/lib/energy-market"
BACKUPS = f"{STATE}/backup"
CACHE = "/var/cache/energy-market"


def committed(suite: Machine) -> int:
    """The last slot of the ledger, -1 before the first one and while nobody answers."""
    return int(suite.market_says().get("snapshot", {}).get("slot", -1))


def slots_pass(suite: Machine, count: int) -> None:
    """Let the market commit so many slots."""
    suite.wait_until(lambda: committed(suite) >= 0)
    first = committed(suite)
    suite.wait_until(lambda: committed(suite) >= first + count)


def back_up(suite: Machine) -> tuple[str, int]:
    """Make a backup by the unit: its file, and the slot that it ends with."""
    answer = json.loads(suite.must("energyctl", "ledger", "backup", "--json"))
    manifest = json.loads(suite.must("tar", "-xOf", answer["file"], "manifest.json"))
    return answer["file"], int(manifest["last_slot"])


def checker_is_content(suite: Machine) -> None:
    """Stop, and hold ledger, registers and physics together."""
    suite.must("energyctl", "stop")
    suite.must("energy-checkd", "--state", STATE, "--compiled", f"{CACHE}/scenario")


@pytest.fixture
def backed_up(suite: Machine) -> tuple[str, int]:
    """A suite that ran on after its backup, and was stopped."""
    slots_pass(suite, 1)
    made = back_up(suite)
    slots_pass(suite, 3)
    suite.must("energyctl", "stop")
    return made


def owners(suite: Machine) -> str:
    """Owner, group and mode of every part of a state, of its files and of the scenario."""
    names = "market homes market/ledger.db homes/*.state"
    found = f"cd {STATE} && stat --format='%U:%G %a' {names} {CACHE} {CACHE}/scenario/ | sort -u"
    return suite.must("sh", "-c", found)


OWNERS = """\
energy-home:energy 640
energy-home:energy 750
energy-market:energy 600
energy-market:energy 700
energy-market:energy 755
"""


def test_a_restore_goes_back_only_with_force_and_the_suite_goes_on(
    suite: Machine, backed_up: tuple[str, int]
) -> None:
    """Refused with the way out; then restored, owned by its users, and it goes on from the backup's slot."""
    file, last = backed_up
    refused = suite.run("energyctl", "ledger", "restore", file)
    assert refused.returncode == 1
    assert "settled slots would be lost" in refused.stderr
    done = json.loads(suite.must("energyctl", "ledger", "restore", file, "--force", "--json"))
    assert done["last_slot"] == last
    assert suite.must("ls", done["aside"]).split() == ["homes", "market"]
    assert owners(suite) == OWNERS
    suite.start()
    assert f"going on after slot {last}" in suite.journal("-u", "energy-market", "--lines=50")
    slots_pass(suite, 2)
    checker_is_content(suite)


def test_on_a_new_disk_the_backup_alone_brings_the_suite_back(
    suite: Machine, backed_up: tuple[str, int]
) -> None:
    """State and cache are lost: what is left is the backup, on another disk, and the configuration."""
    file, last = backed_up
    suite.must("cp", file, "/elsewhere.tar")
    suite.must("sh", "-c", f"rm -rf {STATE}/* {CACHE}")
    done = json.loads(suite.must("energyctl", "ledger", "restore", "/elsewhere.tar", "--json"))
    assert (done["last_slot"], done["aside"]) == (last, None)
    assert owners(suite) == OWNERS
    suite.start()
    assert f"going on after slot {last}" in suite.journal("-u", "energy-market", "--lines=50")
    slots_pass(suite, 2)
    checker_is_content(suite)


def test_a_suite_that_runs_is_not_restored_under_its_feet(suite: Machine) -> None:
    """Exit 73 with the names of the units, and everything runs on."""
    lives = suite.lives()
    refused = suite.run("energyctl", "ledger", "restore", "/nowhere.tar", "--force")
    assert refused.returncode == 73
    assert "energy-market.service" in refused.stderr
    assert "energyctl stop" in refused.stderr
    assert suite.lives() == lives


def test_another_configuration_is_refused_with_the_backups_own_at_hand(
    suite: Machine, backed_up: tuple[str, int]
) -> None:
    """Exit 78; the command that is named puts the backup's configuration back."""
    file, _ = backed_up
    path = suite.tree / "etc/energy-market/energy-market.toml"
    text = path.read_text()
    try:
        path.write_text(text.replace("seed = 42", "seed = 43"))
        refused = suite.run("energyctl", "ledger", "restore", file, "--force")
        assert refused.returncode == 78
        assert "tar -xOf FILE configuration.toml > /etc/energy-market/energy-market.toml" in refused.stderr
        assert suite.must("tar", "-xOf", file, "configuration.toml") == text
    finally:
        path.write_text(text)


def test_a_restore_that_was_cut_short_keeps_the_market_closed_until_it_is_finished(
    suite: Machine, backed_up: tuple[str, int]
) -> None:
    """What stands between is no state: `start` refuses it with the way out, and the same command finishes."""
    file, last = backed_up
    suite.must(
        "/usr/lib/energy-market/bin/python3", "-I", "-c",
        "import os, signal, sys; from pathlib import Path\n"
        "from energymarket.archive import exchange\n"
        "from energymarket import restore\n"
        "finish = exchange.finish\n"
        "def cut_short(state, decision, told):\n"
        "    finish(state, decision, lambda step: os._exit(0) if step == 'homes in' else None)\n"
        "exchange.finish = cut_short\n"
        f"restore.main([{file!r}, '--state', {STATE!r}, '--force', '--prepared', {CACHE!r},"
        " '--config', '/etc/energy-market/energy-market.toml'])",
    )  # fmt: skip
    started = suite.run("energyctl", "start")
    assert started.returncode == 78, started.stderr
    assert "a restore was cut short" in suite.journal("-u", "energy-config-check", "--lines=20")
    done = json.loads(suite.must("energyctl", "ledger", "restore", file, "--json"))
    assert (done["finished"], done["last_slot"]) == (True, last)
    suite.start()
    slots_pass(suite, 1)
    checker_is_content(suite)


def test_operators_back_up_by_the_unit_and_only_root_restores(suite: Machine) -> None:
    """Members of energy-ctl need no root for a backup; where they do, they are told the command."""
    suite.must("sh", "-c", "id em-operator >/dev/null 2>&1 || useradd -m -G energy-ctl em-operator")
    done = suite.run("energyctl", "ledger", "backup", user="em-operator")
    assert (done.returncode, BACKUPS in done.stdout) == (0, True), done.stderr
    elsewhere = suite.run("energyctl", "ledger", "backup", "-o", "/tmp", user="em-operator")
    assert elsewhere.returncode == 77
    assert "sudo energyctl ledger backup -o /tmp" in elsewhere.stderr
    suite.must("energyctl", "stop")
    refused = suite.run("energyctl", "ledger", "restore", "/x.tar", user="em-operator")
    assert refused.returncode == 77
    assert "sudo energyctl ledger restore /x.tar" in refused.stderr


def test_only_root_exchanges_the_parts_of_a_state(suite: Machine) -> None:
    """The users of the suite write into their parts, and none of them puts another in a part's place."""
    assert suite.must("stat", "--format=%U:%G %a", STATE).split() == ["root:root", "755"]
    for user in ("energy-market", "energy-home"):
        assert suite.run("touch", f"{STATE}/restore.json", user=user).returncode != 0


def test_one_a_day_is_kept_for_fourteen_days(suite: Machine) -> None:
    """Those of older days go, and each is for its owner only."""
    suite.must(
        "sh",
        "-c",
        f"install -d -o energy-market -g energy -m 700 {BACKUPS} && cd {BACKUPS} && "
        f"for n in $(seq 10 29); do touch energy-market-200001${{n}}T000000Z.tar; done",
    )
    back_up(suite)
    names = suite.must("ls", BACKUPS).split()
    assert len({name[:22] for name in names}) == 14  # energy-market-YYYYMMDD
    assert suite.must("stat", "--format=%U %a", f"{BACKUPS}/{names[-1]}").split() == ["energy-market", "600"]
