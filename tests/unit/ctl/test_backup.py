"""What `energyctl ledger backup` says of the unit that makes it: a backup only where there is a new one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from energyctl import systemd
from energyctl.exits import Exit, ProblemError
from energyctl.render import Answer
from energyctl.session import Session
from energyctl.verbs import backup

OLD, NEW = "energy-market-20260101T000000Z.tar", "energy-market-20260102T000000Z.tar"
ENDED = {
    "Id": backup.UNIT, "LoadState": "loaded", "ActiveState": "inactive", "SubState": "dead",
    "Result": "success", "ExecMainStatus": "0", "ConditionResult": "yes",
    "ConditionTimestampMonotonic": "5", "InvocationID": "a",
}  # fmt: skip
AGAIN = {**ENDED, "InvocationID": "b"}
SKIPPED = {**ENDED, "ExecMainStatus": "5", "ConditionResult": "no", "ConditionTimestampMonotonic": "9"}


class Manager:
    """A service manager by the name of systemctl, whose unit is another after its start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.backups = path / "backup"
        self.backups.mkdir()
        (self.backups / OLD).touch()

    def will_say(self, before: Mapping[str, str], after: Mapping[str, str], *, made: bool) -> None:
        """States of the unit, and whether its start leaves a file."""
        for name, unit in (("before", before), ("after", after)):
            (self.path / name).write_text("".join(f"{key}={value}\n" for key, value in unit.items()))
        file = f"touch {self.backups / NEW}" if made else ":"
        text = f"""#!/bin/sh
case "$*" in
    *" start "*) mv {self.path}/after {self.path}/before; {file} ;;
    *energy-market.target*) echo Id=energy-market.target; echo LoadState=loaded ;;
    *) cat {self.path}/before ;;
esac
"""
        (self.path / "systemctl").write_text(text)
        (self.path / "systemctl").chmod(0o755)

    def back_up(self) -> Answer:
        """Ask for a backup by the unit."""
        answer = backup._of_the_suite(Session(as_json=False, run=None), None)
        assert isinstance(answer, Answer)
        return answer

    def refuses(self) -> ProblemError:
        """The same, where it does not come to one."""
        with pytest.raises(ProblemError) as caught:
            self.back_up()
        return caught.value


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manager:
    found = Manager(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(systemd, "is_booted", lambda: True)
    monkeypatch.setattr(backup, "SYSTEM_BACKUPS", found.backups)
    return found


def shut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The door of the backups is closed to this user."""

    def closed(_: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", closed)


def test_the_new_file_is_named(manager: Manager) -> None:
    """The unit has run and left a file."""
    manager.will_say(ENDED, AGAIN, made=True)
    answer = manager.back_up()
    assert json.loads(json.dumps(answer.data))["file"] == str(manager.backups / NEW)
    assert answer.text == (f"{manager.backups / NEW}: made and verified",)


@pytest.mark.parametrize("closed", [False, True])
def test_without_a_ledger_no_backup_is_claimed(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, *, closed: bool
) -> None:
    """After `reset --state` the unit is skipped, and its start succeeds: exit 4, not an old file's name."""
    manager.will_say(ENDED, SKIPPED, made=False)
    if closed:
        shut(monkeypatch)
    problem = manager.refuses()
    assert (problem.exit_code, problem.name) == (Exit.NO_SUCH_OBJECT, "nothing_to_back_up")
    assert "no ledger" in problem.why


def test_a_run_that_left_no_file_is_no_backup(manager: Manager) -> None:
    """Whatever the unit says of itself: the newest file is the old one."""
    manager.will_say(ENDED, AGAIN, made=False)
    assert "left no new file" in manager.refuses().why


def test_who_may_not_look_is_told_whether_the_unit_ran(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator sees no file: a run of the unit is what there is to go by, also one that was under way."""
    shut(monkeypatch)
    manager.will_say(ENDED, ENDED, made=False)
    assert manager.refuses().why == "it has not run"
    for before, after in ((ENDED, AGAIN), ({**ENDED, "ActiveState": "activating"}, ENDED)):
        manager.will_say(before, after, made=True)
        assert manager.back_up().text == (f"a backup was made and verified in {manager.backups}",)


def test_a_run_that_failed_gives_its_exit_code(manager: Manager) -> None:
    """75: no slot has ended yet; a success to the manager, and no backup."""
    manager.will_say(ENDED, {**AGAIN, "ExecMainStatus": "75"}, made=False)
    assert manager.refuses().exit_code is Exit.TRY_AGAIN
