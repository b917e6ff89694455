"""A flipped byte is found, wherever it is: in every column of every table, and in the file at large."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from energymarket.audit.checker import Result
from energymarket.audit.findings import Kind
from energymarket.audit.ledger_file import LedgerFile
from energymarket.audit.reading import Check
from energymarket.audit.source import LedgerDamagedError
from tests.simulation.planting import opened
from tests.simulation.small_market import KEPT_SLOTS, SmallMarket
from tests.unit.core.made_fleet import FIRST_SLOT

FLIPS_PER_FIELD, FLIPS_WHEN_LONG = 3, 8
"""Bytes of one field that are flipped in turn, spread over its length."""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> SmallMarket:
    """A ledger with everything: detail, compacted stretches, checkpoints, orders with receipts."""
    directory = tmp_path_factory.mktemp("ledger")
    market = SmallMarket(directory, first_slot=FIRST_SLOT - FIRST_SLOT % 16)
    market.play(KEPT_SLOTS + 15)
    market.play(orders=((2, -40), (4, 10)))
    market.compact()
    market.play(3)
    market.close()
    return market


def check(path: Path, market: SmallMarket) -> Result:
    file = LedgerFile(path, path)
    try:
        file.open()
        return Check(file, market.homes, market.compiled).run().result()
    finally:
        file.close()


def flipped(value: Any, at: int) -> Any:
    """The value with one bit of one byte changed; of a number, of its last digits."""
    if isinstance(value, int):
        return value ^ (1 << at % 8)
    data = bytearray(value.encode() if isinstance(value, str) else value)
    data[at] ^= 1
    return data.decode(errors="surrogateescape") if isinstance(value, str) else bytes(data)


def test_the_ledger_is_clean_before_a_byte_is_flipped(ledger: SmallMarket) -> None:
    """Or else the tests below would prove nothing."""
    result = check(ledger.ledger_path, ledger)
    assert result.ok, result.findings
    assert result.compacted == 16


FIELDS = [
    ("slots", "slot", "detail"),
    ("slots", "price_ueur_per_kwh", "detail"),
    ("slots", "import_ueur_per_kwh", "detail"),
    ("slots", "export_ueur_per_kwh", "detail"),
    ("slots", "gap", "detail"),
    ("slots", "weather_stale", "detail"),
    ("slots", "totals", "detail"),
    ("slots", "meta", "detail"),
    ("slots", "body", "detail"),
    ("slots", "hash", "detail"),
    ("slots", "seal", "detail"),
    ("slots", "price_ueur_per_kwh", "compacted"),
    ("slots", "totals", "compacted"),
    ("slots", "meta", "compacted"),
    ("slots", "hash", "compacted"),
    ("slots", "seal", "compacted"),
    ("days", "day", ""),
    ("days", "last_slot", ""),
    ("days", "body", ""),
    ("days", "digest", ""),
    ("checkpoints", "slot", ""),
    ("checkpoints", "body", ""),
    ("checkpoints", "digest", ""),
    ("orders", "home", ""),
    ("orders", "energy_wh", ""),
    ("orders", "price_ueur_per_kwh", ""),
    ("orders", "total_ueur", ""),
]


@pytest.mark.parametrize(("table", "column", "where"), FIELDS, ids=lambda value: value or "any")
def test_a_flipped_byte_of_a_field_is_found(
    ledger: SmallMarket, tmp_path: Path, table: str, column: str, where: str, *, is_long: bool
) -> None:
    """Each of some bytes of the field in turn, in one row of the table."""
    copy = tmp_path / "ledger.db"
    clause = {"detail": "WHERE body IS NOT NULL", "compacted": "WHERE body IS NULL", "": ""}[where]
    with opened(ledger.ledger_path) as db:
        query = f"SELECT rowid, {column} FROM {table} {clause} LIMIT 1 OFFSET 2"  # noqa: S608
        if table in {"days", "checkpoints", "orders"}:
            query = query.replace(" OFFSET 2", "").replace("rowid", "home" if table == "orders" else "rowid")
        key, value = db.execute(query).fetchone()
    name = "home" if table == "orders" else "rowid"
    length = 8 if isinstance(value, int) else len(value)
    if column in {"gap", "weather_stale"}:
        length = 1
    flips = FLIPS_WHEN_LONG if is_long else FLIPS_PER_FIELD
    for at in range(0, length, -(-length // flips)):
        copy.write_bytes(ledger.ledger_path.read_bytes())
        wrong = flipped(value, at)
        with opened(copy) as db:
            taken = db.execute(f"SELECT count(*) FROM {table} WHERE {column} = ?", (wrong,)).fetchone()[0]  # noqa: S608
            if taken and column in {"slot", "day"}:
                continue  # that key is another row's
            db.execute(f"UPDATE {table} SET {column} = ? WHERE {name} = ?", (wrong, key))  # noqa: S608
        assert not check(copy, ledger).ok, f"byte {at} of {table}.{column}"


def dump(path: Path) -> list[Any] | None:
    """What the tables hold, or None where SQLite cannot tell."""
    try:
        with closing(sqlite3.connect(path)) as db:
            db.text_factory = bytes
            return [
                db.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
                for table in ("slots", "days", "checkpoints", "orders")
            ]
    except (sqlite3.DatabaseError, OverflowError, MemoryError):
        return None


@pytest.mark.parametrize("start", range(4))
def test_a_flipped_byte_of_the_file_is_found_or_changes_nothing(
    ledger: SmallMarket, tmp_path: Path, start: int
) -> None:
    """All over the file: either no table holds anything else, or there is a finding; never a traceback."""
    data = ledger.ledger_path.read_bytes()
    before = dump(ledger.ledger_path)
    copy = tmp_path / "ledger.db"
    found = 0
    for number in range(20):
        at = (number * 4 + start) * 7919 * 13 % len(data)
        copy.write_bytes(data[:at] + bytes((data[at] ^ (1 << number % 8),)) + data[at + 1 :])
        try:
            ok = check(copy, ledger).ok
        except LedgerDamagedError:
            ok = False
        now = dump(copy)
        ids = (
            before is not None
            and now is not None
            and _without_order_names(now) == _without_order_names(before)
        )
        assert not ok or ids, f"byte {at} of the file"
        found += not ok
    assert found > 2


def _without_order_names(tables: list[Any]) -> list[Any]:
    """Names and receipts of orders are for their homes; nothing of the ledger follows from them."""
    *others, orders = tables
    return [
        *others,
        sorted((row[0], row[2], row[3], row[4], row[5]) for row in orders if isinstance(row[1], bytes)),
    ]


def test_a_slot_that_is_missing_is_found(ledger: SmallMarket, tmp_path: Path) -> None:
    """By its number."""
    copy = tmp_path / "ledger.db"
    copy.write_bytes(ledger.ledger_path.read_bytes())
    with opened(copy) as db:
        slot = db.execute("SELECT slot FROM slots WHERE body IS NOT NULL LIMIT 1 OFFSET 5").fetchone()[0]
        db.execute("DELETE FROM slots WHERE slot = ?", (slot,))
    findings = check(copy, ledger).findings
    assert (findings[0].kind, findings[0].slot) == (Kind.SLOT_MISSING, slot)


def test_a_ledger_of_another_scenario_is_found(ledger: SmallMarket, tmp_path: Path) -> None:
    """The first hash is that of the scenario."""
    copy = tmp_path / "ledger.db"
    copy.write_bytes(ledger.ledger_path.read_bytes())
    with opened(copy) as db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'scenario_hash'", ("ab" * 32,))
    assert check(copy, ledger).findings[0].kind is Kind.GENESIS_DIFFERS


def test_bodies_that_vanished_are_found(ledger: SmallMarket, tmp_path: Path) -> None:
    """A slot without a body that no compacted stretch covers."""
    copy = tmp_path / "ledger.db"
    copy.write_bytes(ledger.ledger_path.read_bytes())
    with opened(copy) as db:
        slot = db.execute("SELECT max(slot) FROM slots").fetchone()[0]
        db.execute("UPDATE slots SET body = NULL WHERE slot = ?", (slot,))
    findings = check(copy, ledger).findings
    assert (findings[0].kind, findings[0].slot) == (Kind.DETAIL_MISSING, slot)
