"""A copy of a ledger with registers, held against what is said of it: hash chain and seals, slots, states."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from energymarket.archive import moment
from energymarket.archive.manifest import HOMES, LEDGER, SCENARIO, BackupDamaged
from energymarket.audit.ledger_file import LedgerFile
from energymarket.audit.reading import Check
from energymarket.audit.source import LedgerDamagedError
from energymarket.exits import Exit, Failure
from energymarket.scenario import compiled as compiling

if TYPE_CHECKING:
    from pathlib import Path

    from energymarket.archive.manifest import Manifest
    from energymarket.archive.progress import Told
    from energymarket.audit.opened import Opened
    from energymarket.scenario.compiled import Compiled
    from energymarket.transport.store import SlotRow


def check_chain(path: Path, first_slot: int, last_slot: int, chain_hash: str, told: Told) -> str | None:
    """What the independent checker has against a ledger's chain, or against its end; None if it holds."""
    total = last_slot - first_slot + 1
    ledger = LedgerFile(path, path)

    def hear(row: SlotRow, _opened: Opened | None) -> None:
        told("verifying", row.slot - first_slot + 1, total)

    try:
        ledger.open()
        result = Check(ledger, None, None, chain_only=True, on_slot=hear).run().result()
    except LedgerDamagedError as error:
        return str(error)
    finally:
        ledger.close()
    if not result.ok:
        return f"{result.findings[0].line()} ({result.findings_count} findings)"
    if (result.first_slot, result.last_slot, result.hash) != (first_slot, last_slot, chain_hash):
        return f"it ends with slot {result.last_slot}, hash {result.hash}: not as was said"
    return None


def check_unpacked(directory: Path, manifest: Manifest, told: Told) -> Compiled:
    """Everything in an unpacked backup against its manifest and against each other. Raises BackupDamaged."""
    path = directory / LEDGER
    problem = check_chain(path, manifest.first_slot, manifest.last_slot, manifest.chain_hash, told)
    if problem is not None:
        raise BackupDamaged(f"{LEDGER}: {problem}")
    with ExitStack() as stack:
        try:
            standing = moment.standing_of(moment.open_ledger(stack, path))
            moment.hold_together(standing, directory / HOMES, manifest.ranges)
        except Failure as error:
            raise BackupDamaged(str(error)) from error
    try:
        _hold_to_its_list(directory / SCENARIO, manifest)
        compiled = compiling.load(directory / SCENARIO)
        compiled.verify()
    except compiling.CompiledError as error:
        raise BackupDamaged(f"{SCENARIO}: {error}") from error
    said = (manifest.scenario_hash, manifest.homes)
    if said != (standing.scenario_hash, standing.homes) or said != (compiled.hash, compiled.homes_count):
        raise BackupDamaged("ledger, scenario and manifest are not of the same run")
    return compiled


def _hold_to_its_list(scenario: Path, manifest: Manifest) -> None:
    """The scenario's own list is what will be opened, and what stays in the cache: it names the members."""
    listed = {f"{SCENARIO}/{name}" for name in compiling.files_of(scenario)}
    held = {each.name for each in manifest.members if each.name.startswith(f"{SCENARIO}/")}
    for name in sorted((listed ^ held) - {f"{SCENARIO}/{compiling.TOML_NAME}"}):
        why = "is not in the backup" if name in listed else "is no part of the scenario"
        raise BackupDamaged(f"{name} {why}")


def hash_at(path: Path, slot: int) -> str | None:
    """The hash of a slot in a ledger that nobody writes, or None. Raises Failure."""
    with ExitStack() as stack:
        row = moment.open_ledger(stack, path).slot(slot)
    return None if row is None else row.hash.hex()


def no_room(path: Path, needed_bytes: int, free_bytes: int) -> Failure:
    """The disk would be full before the work is done."""
    return Failure(
        f"{path}: {needed_bytes} bytes are needed, {free_bytes} are free",
        "make room, or name a place on another disk",
        Exit.IO_ERROR,
    )
