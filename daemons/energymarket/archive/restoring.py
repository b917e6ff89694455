"""How a backup comes back: all of it is verified beside the present state, which then makes room for it."""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from energymarket.archive import exchange, guards
from energymarket.archive.exchange import Decision
from energymarket.archive.manifest import HOMES, LEDGER, MARKET, SCENARIO
from energymarket.archive.places import copy_durably, durable, room
from energymarket.archive.tarball import Tarball, room_for
from energymarket.archive.verifying import check_unpacked, hash_at, no_room
from energymarket.home import apart
from energymarket.home.files import of_home
from energymarket.scenario import cache
from energymarket.scenario import compiled as compiling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from energymarket.archive.manifest import Manifest
    from energymarket.archive.places import Owner
    from energymarket.archive.progress import Told
    from energymarket.scenario.compiled import Compiled

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be restored, and where."""

    backup: Path
    state: Path
    force: bool
    stamp: str  # names the directory of what is set aside
    owners: Mapping[str, Owner] = field(default_factory=dict)  # of market, homes and scenario
    configuration: Path | None = None  # the suite's, where there is one
    prepared: Path | None = None  # where the configuration check leaves what a start needs


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of it."""

    manifest: Manifest
    aside: Path | None  # where the state of before lies now
    finished: bool  # an earlier restore of this backup had been cut short, and is done now


def restore(order: Order, told: Told, step: Callable[[str], None] = log.debug) -> Restored:
    """Put a backup in the place of a state. Raises Failure, and then nothing has changed.

    `step` hears of every step that could be the last one.
    """
    ball = Tarball(order.backup).open()
    manifest, state = ball.manifest, order.state
    with ExitStack() as stack:
        guards.lock_out(stack, state)
        cut_short = exchange.pending(state)
        aside = None if cut_short is None else exchange.finish(state, cut_short, step)
    if cut_short is not None and cut_short.seal == manifest.seal:
        return Restored(manifest, aside, finished=True)
    with ExitStack() as stack:
        guards.lock_out(stack, state)
        if order.prepared is None:
            guards.refuse_foreign_directory(state)
        guards.refuse_version(manifest, force=order.force)
        incoming = stack.enter_context(_room_beside(state))
        compiled = _verify(order, ball, incoming, told, step)
        _set_apart(incoming / HOMES, manifest, compiled)
        _seat(order, manifest, incoming)
        step("ready")
        decision = Decision(f"before-{order.stamp}", manifest.seal, manifest.last_slot)
        exchange.decide(state, decision)
        step("decided")
        aside = exchange.finish(state, decision, step)
    return Restored(manifest, aside, finished=False)


@contextmanager
def _room_beside(state: Path) -> Iterator[Path]:
    """A directory in the state for what comes; unless that has been decided, all is as before at the end."""
    made = not state.exists()
    state.mkdir(mode=0o750, parents=True, exist_ok=True)
    exchange.clear(state)
    incoming = state / exchange.INCOMING
    incoming.mkdir(mode=0o700)
    try:
        yield incoming
    finally:
        if exchange.pending(state) is None:
            exchange.clear(state)
            if made and not any(state.iterdir()):
                state.rmdir()


def _verify(order: Order, ball: Tarball, incoming: Path, told: Told, step: Callable[[str], None]) -> Compiled:
    """Every guard, and everything in the backup against everything else in it. Raises Failure."""
    manifest, force = ball.manifest, order.force
    scratch = incoming / "present"
    scratch.mkdir()
    present = guards.present_of(order.state, scratch, force=force)
    shutil.rmtree(scratch)
    guards.refuse_other_present(present, manifest)
    guards.refuse_to_go_back(present, manifest, force=force)
    needed = room_for(manifest.members)
    if needed > room(incoming):
        raise no_room(order.state, needed, room(incoming))
    ball.unpack(incoming, told)
    step("unpacked")
    compiled = check_unpacked(incoming, manifest, told)
    if order.configuration is not None:
        guards.refuse_other_configuration(order.configuration, incoming)
    if present is not None and present.last_slot is not None:
        guards.refuse_other_history(present, hash_at(incoming / LEDGER, present.last_slot), force=force)
    step("verified")
    return compiled


def _set_apart(homes: Path, manifest: Manifest, compiled: Compiled) -> None:
    """Homes that had left the pool have left it: the next start starts them by themselves."""
    single = compiled.homes["single"]
    for each in manifest.ranges:
        if homes.parent / each.file == of_home(homes, each.first).path and not single[each.first - 1]:
            apart.leave(homes, each.first)


def _seat(order: Order, manifest: Manifest, incoming: Path) -> None:
    """Give everything the owner and the mode that a start expects, and the scenario its place."""
    for part in (MARKET, HOMES, SCENARIO):
        order.owners[part].take(incoming / part)
    _seat_scenario(order, manifest, incoming / SCENARIO)
    for part in (MARKET, HOMES):
        durable(incoming / part)
    if order.prepared is None and not (order.state / guards.MARK).exists():
        mark = order.state / guards.MARK
        mark.write_text(f"state of energy-market, scenario {manifest.scenario_name}\n", encoding="utf-8")
        order.owners[HOMES].take(mark)
    durable(incoming)


def _seat_scenario(order: Order, manifest: Manifest, unpacked: Path) -> None:
    """Where the next start finds it compiled, so that it needs neither the compiler nor its libraries."""
    root = cache.cache_directory() if order.prepared is None else order.prepared / "compiled"
    owner, made = order.owners[SCENARIO], _make(root)
    place = root / manifest.compiled_name
    if place.exists() and _hash_of(place) != manifest.scenario_hash:
        place = root / f"{manifest.compiled_name}-{manifest.seal[:12]}"  # the same file, compiled otherwise
    if not place.exists():
        draft = root / f".{place.name}.part"
        shutil.rmtree(draft, ignore_errors=True)
        copy_durably(unpacked, draft)
        owner.take(draft)
        draft.rename(place)
        durable(root)
    for each in made:
        owner.take(each)
    if order.prepared is not None:
        link = order.prepared / f".scenario.{os.getpid()}"
        link.symlink_to(place.resolve())
        link.replace(order.prepared / SCENARIO)
    shutil.rmtree(unpacked)


def _make(directory: Path) -> list[Path]:
    """Make a directory and those above it that are missing; which they were."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    return missing


def _hash_of(directory: Path) -> str | None:
    try:
        return compiling.load(directory).hash
    except compiling.CompiledError:
        return None
