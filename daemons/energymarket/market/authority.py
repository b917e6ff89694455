"""Who may change the market: decided by whom the kernel says to have connected."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from energymarket.transport.call import Call

OPERATORS_GROUP: Final = "energy-ctl"

READERS: Final = ("energy-check", "energy-worker")
"""Users of the suite that come in by the operators' group, because the socket is theirs, and only read."""


def may_change(call: Call) -> bool:
    """The market's own user, root, and the group of operators; none of the suite's readers."""
    uid = call.peer.uid
    if uid in {0, os.geteuid()}:
        return True
    if uid in _uids_of(READERS):
        return False
    try:
        return call.by_member_of(grp.getgrnam(OPERATORS_GROUP).gr_gid)
    except KeyError:
        return False


def _uids_of(names: tuple[str, ...]) -> set[int]:
    """The ids of those of these users that there are: outside an installation there is none."""
    found = set()
    for name in names:
        with contextlib.suppress(KeyError):
            found.add(pwd.getpwnam(name).pw_uid)
    return found
