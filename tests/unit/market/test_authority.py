"""Who may change the market: operators, not the suite's own readers, who come in by the same group."""

from __future__ import annotations

import grp
import os
import pwd
from types import SimpleNamespace
from typing import Any, cast

import pytest

from energymarket.market import authority
from energymarket.transport.call import Call

UIDS = {"energy-check": 4001, "energy-worker": 4002}


def call_of(uid: int, *, is_operator: bool) -> Call:
    """A call of this user, whose process is in the group of operators or not."""
    made: Any = SimpleNamespace(
        peer=SimpleNamespace(uid=uid), by_member_of=lambda gid: is_operator and gid == 77
    )
    return cast("Call", made)


@pytest.mark.parametrize(
    ("uid", "is_operator", "may"),
    [
        (0, False, True),
        (os.geteuid(), False, True),
        (4003, True, True),
        (4003, False, False),
        (4001, True, False),
        (4002, True, False),
    ],
)
def test_workers_and_checker_may_not_change_it(
    monkeypatch: pytest.MonkeyPatch, uid: int, is_operator: bool, may: bool
) -> None:
    """Root, the market's own user and operators may; readers may not, whatever groups their unit has."""

    def user(name: str) -> SimpleNamespace:
        return SimpleNamespace(pw_uid=UIDS[name])

    def group(_name: str) -> SimpleNamespace:
        return SimpleNamespace(gr_gid=77)

    monkeypatch.setattr(pwd, "getpwnam", user)
    monkeypatch.setattr(grp, "getgrnam", group)
    assert authority.may_change(call_of(uid, is_operator=is_operator)) is may
