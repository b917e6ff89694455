"""Who carries the units of a market: a service manager, or the supervisor of `energyctl up`.

Both know the same units by the same names, restart them by the same policies, and are told start, stop and
restart in the same words. A market that somebody has started by hand has no carrier.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol, runtime_checkable

from energyctl import systemd
from energyctl.exits import ProblemError
from energyctl.keeper import Keeper, keeper_of, means_users
from energyctl.session import Session

SERVES: Final = frozenset({"active", "not needed"})


@runtime_checkable
class Unit(Protocol):
    """A unit as its carrier sees it."""

    @property
    def name(self) -> str:
        """Its name with its kind, the same with both carriers."""

    @property
    def state(self) -> str:
        """One word for people: active, auto-restart, inactive, failed, .. as systemd says it."""

    @property
    def failed(self) -> bool:
        """Whether it has failed for good."""

    @property
    def why(self) -> str:
        """How it failed."""

    @property
    def says(self) -> str:
        """Its own last words."""

    @property
    def exit_status(self) -> str:
        """The exit code of its last life as digits; empty without one."""

    @property
    def is_single_home(self) -> bool:
        """Whether it is a home that is a process of its own."""

    @property
    def pid(self) -> int:
        """The main process; 0 without one."""

    @property
    def restarts(self) -> int:
        """How often it was started again."""

    def age_s(self, now_s: float) -> float | None:
        """How long it has been in its state."""

    def silent_s(self, now_s: float) -> float | None:
        """Time since its last sign of life; None for a unit without a watchdog."""


class Carrier(Protocol):
    """What a verb asks of it. Orders return when they are carried out, and raise ProblemError if not."""

    def units(self) -> Sequence[Unit]:
        """All units of the suite, and those of single homes and workers that are not simply stopped."""

    def start(self, names: Sequence[str]) -> None:
        """Start units; those that have failed get another chance. Without names all of them."""

    def stop(self, names: Sequence[str]) -> None:
        """Stop these units."""

    def restart(self, names: Sequence[str]) -> None:
        """Restart these units; without names the whole suite."""


class Manager:
    """systemd's: the system's manager, or the user's."""

    def __init__(self, *, user: bool) -> None:
        self._user = user

    def units(self) -> Sequence[Unit]:
        """What the manager shows."""
        return [unit for unit in systemd.show(systemd.SHOWN, user=self._user) if unit.is_shown]

    def start(self, names: Sequence[str]) -> None:
        """The named units, or the target with all that it wants."""
        found = systemd.show(names or systemd.SHOWN, user=self._user)
        failed = [unit.name for unit in found if unit.failed]
        if failed and systemd.installed(user=self._user):
            systemd.tell(["reset-failed", *failed], user=self._user)
        if names:
            systemd.tell(["start", *names], user=self._user, about=names)
            return
        systemd.tell(["start", systemd.TARGET], user=self._user, unless_failed=systemd.DAEMONS)
        if any(unit.name == systemd.STARTS_WORKERS and unit.state == "active" for unit in found):
            # It has done its work at the start before; a worker that failed or was stopped since is missing.
            systemd.tell(["restart", systemd.STARTS_WORKERS], user=self._user)
        workers = systemd.show((systemd.WORKERS,), user=self._user)
        late = [unit.name for unit in workers if unit.state not in {"inactive", "failed", *SERVES}]
        if late:  # started by a unit that does not wait for them, and last to get the processor
            with suppress(ProblemError):  # the verb looks at all units next, and names whoever does not serve
                systemd.tell(["start", *late], user=self._user)

    def stop(self, names: Sequence[str]) -> None:
        """The named units."""
        systemd.tell(["stop", *names], user=self._user, timeout_s=systemd.STOP_S_MAX, about=names)

    def restart(self, names: Sequence[str]) -> None:
        """The named units; all of them by a stop and a start, so that the configuration is checked again."""
        if names:
            systemd.tell(["restart", *names], user=self._user, about=names)
            return
        whole = ["stop", systemd.SLICE, systemd.TARGET]
        systemd.tell(whole, user=self._user, timeout_s=systemd.STOP_S_MAX)
        self.start(())


def carrier_of(here: Session, *, user: bool = False) -> Carrier:
    """The supervisor where one lives in the run directory, else the service manager that is meant."""
    from energyctl.up import proc

    if not user and keeper_of(here.run_dir) is None:
        kept = proc.read(here.run_dir)
        if kept is not None and kept.up.alive():
            from energyctl.supervised import Supervised

            return Supervised(here, kept.up)
    return Manager(user=means_users(user=user) or keeper_of(here.run_dir) is Keeper.USER)


def is_kept(here: Session) -> bool:
    """Whether somebody starts again what dies in this run directory."""
    from energyctl.up import proc

    kept = proc.read(here.run_dir)
    return keeper_of(here.run_dir) is not None or (kept is not None and kept.up.alive())


def kept_units(here: Session) -> Sequence[Unit]:
    """The units of whoever carries the market of this run directory; none where nobody does."""
    from energyctl.up import proc

    if keeper_of(here.run_dir) is None and proc.read(here.run_dir) is None:
        return []
    return carrier_of(here).units()


def unit_name(text: str) -> str:
    """A unit as people write it: market, energy-market and energy-market.service are the same."""
    if "." in text:
        return text
    return f"{text if text.startswith('energy-') else f'energy-{text}'}.service"
