"""A ledger that no market has open: copied, and read from the copy without trusting the type of any field."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from energymarket.audit.source import Beside, Checkpoint, Facts, LedgerDamagedError, Stretch
from energymarket.exits import Exit, Failure, NoSuchObject, SecondInstance
from energymarket.transport import pieces
from energymarket.transport.bodies import bytes_beside
from energymarket.transport.copying import make_whole
from energymarket.transport.ledger_rows import PIECES_VERSION, WHOLE_VERSIONS
from energymarket.transport.store import (
    ForeignLedgerError,
    LedgerStore,
    OrderRow,
    SlotRow,
    StoreError,
    TiedRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import ExitStack

_SLOT: Final = (
    ("slot", int),
    ("price_ueur_per_kwh", int),
    ("import_ueur_per_kwh", int),
    ("export_ueur_per_kwh", int),
    ("gap", int),
    ("weather_stale", int),
    ("totals", str),
    ("meta", str),
    ("body", bytes),
    ("hash", bytes),
    ("seal", bytes),
)
_ORDER: Final = (
    ("home", int),
    ("id", str),
    ("slot", int),
    ("energy_wh", int),
    ("price_ueur_per_kwh", int),
    ("total_ueur", int),
    ("receipt", str),
)
_STRETCH: Final = (("day", int), ("last_slot", int), ("body", bytes), ("digest", bytes))
_CHECKPOINT: Final = (("slot", int), ("body", bytes), ("digest", bytes))
_TIED: Final = (("slot", int), ("body", bytes), ("digest", bytes))
_PIECE: Final = (("id", int), ("bytes", bytes))
_META: Final = (("key", str), ("value", str))
_IN_BACKUP: Final = "market/ledger.db"
_FREE_SHARE: Final = 2  # the copy may take at most half of what is free


def copied(stack: ExitStack, path: Path, *, in_use: bool = False) -> LedgerFile:
    """A copy of a ledger, open to be read until the stack is closed. Raises Failure, LedgerDamagedError.

    With `in_use` also of one that a market has open: of one moment, and the market writes on meanwhile.
    """
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="energy-market-audit-"))
    try:
        copy = copy_into(Path(directory), path)
    except SecondInstance:
        if not in_use:
            raise
        copy = _of_one_moment(Path(directory), path)
    found = LedgerFile(copy, path)
    stack.callback(found.close)
    found.open()
    return found


def _of_one_moment(directory: Path, path: Path) -> Path:
    """A copy by SQLite's own means, in one read transaction: the market's log only grows meanwhile."""
    _check_room(directory, path, path.stat().st_size + bytes_beside(path))
    copy, store = directory / path.name, LedgerStore(path)
    try:
        store.open_read_only()
        with store.held():
            store.copy_to(copy, lambda _done, _total: None)
    except (StoreError, ForeignLedgerError) as error:
        raise Failure(str(error), "energyctl ledger verify tells more", Exit.IO_ERROR) from error
    finally:
        store.close()
    return copy


def copy_into(directory: Path, path: Path) -> Path:
    """Copy a ledger with its log and its bodies. Raises Failure if there is none, or a market has it open.

    LedgerDamagedError where SQLite does not read it.
    """
    if not path.is_file():
        raise NoSuchObject(f"{path}: no ledger here", "--ledger names the file, --state its state")
    if tarfile.is_tarfile(path):
        return _unpacked(directory, path)
    _check_room(directory, path, path.stat().st_size + bytes_beside(path))
    lock = _locked_out(path)
    try:
        for name in (path.name, f"{path.name}-wal"):
            if path.with_name(name).exists():
                shutil.copyfile(path.with_name(name), directory / name)
        make_whole(directory / path.name, path)
    except (sqlite3.DatabaseError, StoreError) as error:
        raise LedgerDamagedError(f"{path}: {error}") from error
    finally:
        if lock is not None:
            os.close(lock)
    return directory / path.name


def _unpacked(directory: Path, path: Path) -> Path:
    """The ledger of a backup (`energyctl ledger backup`), which nobody writes."""
    try:
        with tarfile.open(path) as archive:
            member = archive.getmember(_IN_BACKUP)
            source = archive.extractfile(member)
            if source is None:
                raise NoSuchObject(f"{path}: {_IN_BACKUP} in it is no file", "it is no backup of a market")
            _check_room(directory, path, member.size)
            copy = directory / "ledger.db"
            with source, copy.open("wb") as file:
                shutil.copyfileobj(source, file)
    except KeyError:
        raise NoSuchObject(f"{path}: no {_IN_BACKUP} in it", "it is no backup of a market") from None
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise Failure(f"{path}: {error}", "take another backup", Exit.IO_ERROR) from error
    return copy


def _check_room(directory: Path, path: Path, size: int) -> None:
    if size * _FREE_SHARE > shutil.disk_usage(directory).free:
        raise Failure(f"no room for a copy of {path} ({size} bytes)", "set TMPDIR", Exit.IO_ERROR)


def _locked_out(path: Path) -> int | None:
    """The market's lock, shared, so that none starts while we copy; None where no market ever was."""
    try:
        descriptor = os.open(path.with_name("lock"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SecondInstance(f"{path}: a market has this ledger open", "ask it with --run DIR") from None
    return descriptor


class LedgerFile:
    """The copy, open. Whatever SQLite or a field's type says against it is a LedgerDamagedError."""

    def __init__(self, path: Path, original: Path) -> None:
        self._path = path
        self._original = original
        self._db: sqlite3.Connection | None = None
        self._in_pieces = False

    def open(self) -> None:
        """Open it. Raises LedgerDamagedError."""
        try:
            self._db = sqlite3.connect(self._path, isolation_level=None)
            self._db.text_factory = bytes
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            problem = str(self._db.execute("PRAGMA integrity_check(1)").fetchone()[0], "utf-8", "replace")
        except (sqlite3.DatabaseError, TypeError) as error:
            raise LedgerDamagedError(f"{self._original}: {error}") from error
        if version not in WHOLE_VERSIONS:  # as every copy is
            raise LedgerDamagedError(f"{self._original}: ledger version {version} is none that we read")
        self._in_pieces = version == PIECES_VERSION
        if problem != "ok":
            raise LedgerDamagedError(f"{self._original}: {problem.splitlines()[-1]}")

    def close(self) -> None:
        """Close the copy."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def facts(self) -> Facts:
        """Homes, scenario and genesis, as the file says them."""
        meta = self._meta()
        homes = meta.get("homes", "")
        try:
            genesis = bytes.fromhex(meta.get("genesis", ""))
        except ValueError as error:
            raise LedgerDamagedError(f"{self._original}: the genesis is no hash") from error
        return Facts(int(homes) if homes.isdecimal() else None, meta.get("scenario_hash"), genesis or None)

    def stretches(self) -> list[Stretch]:
        """Compacted stretches in order."""
        return [Stretch(*row) for row in self._read("days", _STRETCH, "ORDER BY day")]

    def row(self, slot: int) -> SlotRow | None:
        """One sealed slot; None if there is none."""
        return next(self._rows("WHERE slot = ?", slot), None)

    def first_slot(self) -> int | None:
        """The first sealed slot; None for an empty ledger."""
        row = next(self._rows("WHERE slot >= ? ORDER BY slot LIMIT 1", 0), None)
        return None if row is None else row.slot

    def last_slot(self) -> int | None:
        """The last sealed slot; None for an empty ledger."""
        row = next(self._rows("WHERE slot >= ? ORDER BY slot DESC LIMIT 1", 0), None)
        return None if row is None else row.slot

    def orders_called(self, what: str) -> list[OrderRow]:
        """Single orders by their receipt, or by the id that their home gave them."""
        return [order for order in self.beside().orders if what in {order.receipt, order.id}]

    def rows(self, first: int) -> Iterator[SlotRow]:
        """Sealed slots from `first` on, in order."""
        return self._rows("WHERE slot >= ? ORDER BY slot", first)

    def _rows(self, clause: str, slot: int) -> Iterator[SlotRow]:
        for row in self._read("slots", _SLOT, clause, (slot,)):
            values = dict(zip(SlotRow.__dataclass_fields__, row, strict=True))
            if values["gap"] not in {0, 1} or values["weather_stale"] not in {0, 1}:
                raise LedgerDamagedError(f"{self._original}: slot {row[0]}: a flag is neither 0 nor 1")
            values["body"] = self._whole(values["body"], slot=row[0], table=pieces.SLOTS)
            yield SlotRow(**values | {name: bool(values[name]) for name in ("gap", "weather_stale")})

    def _whole(self, body: bytes | None, *, slot: int, table: int) -> bytes | None:
        """A body, put together if it is in pieces."""
        if not self._in_pieces or body != b"":
            return body
        first, last = pieces.ids(slot, table)
        found = self._read("pieces", _PIECE, "WHERE id BETWEEN ? AND ? ORDER BY id", (first, last))
        return b"".join(piece for _, piece in found)

    def is_recorded(self) -> bool:
        """Whether the ledger keeps records of inputs at all: older versions did not."""
        named = "WHERE type = 'table' AND name IN ('inputs', 'starts')"
        return len(list(self._read("sqlite_master", (("name", str),), named))) == 2

    def record(self, slot: int) -> TiedRow | None:
        """What came to a slot from outside; None if that was not kept, or not as long."""
        row = next(self._read("inputs", _TIED, "WHERE slot = ?", (slot,)), None)
        if row is None:
            return None
        return TiedRow(slot, self._whole(row[1], slot=slot, table=pieces.INPUTS) or b"", row[2])

    def starts(self, first: int, last: int) -> list[TiedRow]:
        """Where a replay can begin: starts after the slots first .. last, in order."""
        clause = "WHERE slot BETWEEN ? AND ? ORDER BY slot"
        return [TiedRow(*row) for row in self._read("starts", _TIED, clause, (first, last))]

    def beside(self) -> Beside:
        """Checkpoints, orders with their receipts, and the market's own notes."""
        return Beside(
            tuple(Checkpoint(*row) for row in self._read("checkpoints", _CHECKPOINT, "ORDER BY slot")),
            tuple(OrderRow(*row) for row in self._read("orders", _ORDER, "ORDER BY slot, receipt")),
            self._meta(),
        )

    def _meta(self) -> dict[str, str]:
        return dict(self._read("meta", _META, ""))

    def _read(
        self, table: str, fields: Sequence[tuple[str, type]], clause: str, values: Sequence[int] = ()
    ) -> Iterator[tuple[Any, ...]]:
        if self._db is None:
            raise LedgerDamagedError(f"{self._original}: not open")
        names = ", ".join(name for name, _ in fields)
        query = f"SELECT {names} FROM {table} {clause}"  # noqa: S608 names of our own schema
        try:
            for row in self._db.execute(query, values):
                yield tuple(
                    self._field(table, *field, value) for field, value in zip(fields, row, strict=True)
                )
        except (sqlite3.DatabaseError, OverflowError, MemoryError) as error:
            raise LedgerDamagedError(f"{self._original}: table {table}: {error}") from error

    def _field(self, table: str, name: str, kind: type, value: object) -> object:
        """SQLite knows no types of columns: a flipped bit makes text of a number."""
        if value is None and name == "body" and table == "slots":
            return None
        if kind is str and isinstance(value, bytes):
            try:
                return value.decode()
            except UnicodeDecodeError as error:
                raise LedgerDamagedError(f"{self._original}: {table}.{name} is not UTF-8") from error
        if type(value) is not kind:
            raise LedgerDamagedError(f"{self._original}: {table}.{name} is no {kind.__name__}")
        return value
