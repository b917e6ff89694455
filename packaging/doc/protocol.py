"""The protocol page: every layout that one process writes and another reads, from the code that packs."""

# ruff: noqa: INP001 - a module of the program beside it

from __future__ import annotations

import ast
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from layouts import (
    FIELDS,
    Source,
    columns_table,
    dtype_table,
    enum_table,
    struct_table,
    table,
)

_HEAD: Final = """\
# Protocol

Every layout that one process writes and another reads, or that rests on the disk. This page is written by
`packaging/doc/generate.py` from the code that packs; change the code and run it again.

All integers are little-endian, without padding but where it is named; `u4` is an unsigned integer of 4
bytes, `i8` a signed one of 8. Energy is in Wh, money in µ€, prices in µ€/kWh, intensities in thousandths,
instants on CLOCK_BOOTTIME in ns. Home ids start at 1; a slot is UTC seconds // slot length. Reserved
fields and padding are zero. A layout that changes gets a new version; what has an unknown magic or version
is refused by name.
"""


_CELLS: Final = """
The cells start at {HEADER_BYTES}. A cell is a seal of {SEAL_BYTES} bytes, then the payload:
"""
_READING: Final = """
The writer makes the sequence odd, writes checksum and payload, makes it even. A reader copies the cell, and
believes it if the sequence is even, the same before and after, and the checksum agrees.
"""
_CLOCK: Final = """
## Clock page

{intro} Segment of {PAGE_BYTES} bytes, magic `{MAGIC!r}`, version {VERSION}. Written by the market only.
"""
_BOARD: Final = """
## Weather board

{intro} Segment of {BOARD_BYTES} bytes, magic `{MAGIC!r}`, version {VERSION}. Written by the weather daemon
only. At {STATUS_AT} stands the status cell:
"""
_ENTRIES: Final = """
The entry of slot s is the cell at {ENTRIES_AT} + (s mod {SLOTS}) · {ENTRY_BYTES}. A sample is stale when it
is of an earlier slot, or when the writer has been silent for {stale_s:g} s.
"""
_QUEUE: Final = """
## Queue message

{intro} At most {MESSAGE_BYTES_MAX} bytes, so 1 to {OFFERS_MAX} records, or up to {IN_LINE_MAX} offers in a
line; the queue holds {queue_bytes} bytes.

The message's type (`mtype`) is the id of the giver of the first offer as it was put: a giver takes back what
lies under its own type. The rest of a split offer goes back to its place under the same type. With
{given_back:#x} added to the type: {given_back_is} Every access is within a hold of the semaphore; a second
semaphore is the bell that wakes those who wait. A message of another slot or epoch is dropped.
"""
_LINE: Final = """
Then, of `step_bytes` each, by how much the id of each giver but the first is above that of the one before,
and of `energy_bytes` each the energies; both without a sign.
"""
_TURN: Final = """\
## Queue message: a turn

{intro} Lockstep only: one turn goes round the ring of homes, and whoever has it puts, takes or takes back
offers within one hold of the semaphore. Room for its {TURN_BYTES} bytes is kept in the queue.

The type of a message of offers is then epoch · 2^27 + 1 + the ring position of its first giver. What goes
back to the givers of such a message has 2^25 added to it. The type of a turn is epoch · 2^27 + 2^26 + the
first home of the segment that it is addressed to. {step_is}
"""

_EVENTS: Final = """
## Event record

{intro} A signal (SIGUSR1) means "look at the pipe", and nothing else.
"""
_STATE: Final = """
## State file of a range of homes

{intro} The market never reads it; the checker does.

A page of {PAGE_BYTES} bytes with two headers, at 0 and {HEADER_STEP}, then two areas of whole pages. A
header without a slot ({NO_SLOT}) says that its area is being written.
"""
_AREAS: Final = """
Behind it stands the CRC-32 of these bytes (u4, at {size}). `checksum` is CRC-32 over the sums of
the 8-byte words of each page of the area (u8, modulo 2^64), then over their exclusive-ors (u8). An area
holds the columns back to back. In version {VERSION} each has a value per home:
{STATE_BYTES_PER_HOME} bytes a home, or {NARROW_BYTES_PER_HOME} with registers of i4; `payload_bytes` says
which. In version {VERSION_SPARSE}, as the file of a shard begins, registers are i4, and some columns have
values only of the homes that have what they are of. There, blocks of homes follow each other (in version
{versions}), each filled up with zeros to a multiple of {FILLED_TO}
bytes. Whoever opens a file of version 2 gives it the newer layout. In front of a block's columns stand
{KINDS} rows of bits, each filled up with zeros to a multiple of 8 bytes, the first home the highest bit of
the first byte:

{owned}

Once a home has more than there is room for, its file goes on in version {VERSION}. Columns:
"""
_WEATHER_FILE: Final = """
## Live weather: `{NAME}`

{intro} At most {BYTES_MAX} bytes: `version`, `observed_utc_s`, `source`, and `sample` with the fields of
WEATHER but the slot.
"""
_BODY: Final = """
Then, for each term and for each event: the length of its name (u1), the name in UTF-8, its value (term: i8,
µ€/kWh; event: i4, thousandths).

Then {columns} widths (u1, one of {widths}), one per column, in the order below: slot, gifts, orders; then
the columns, each in signed integers of its width, the narrowest that hold it. Width 0: all values are 0.
`home` and `giver` ascend and are packed as differences: the first value, then each less the one before. Of
every difference of `home` 1 is taken away, so that homes 1, 2, 3 .. take no byte.
"""
_CHAIN: Final = """
`hash` = SHA-256(hash of the slot before, body). Before the first slot it is SHA-256 of the text
`energy-market ledger 1`, a line feed, and the hash of the compiled scenario in hexadecimal.
"""
_DATABASE: Final = """
## Ledger: the file

SQLite, WAL, synchronous FULL; one connection, that of the market. `user_version` is {SCHEMA_VERSION}, or
{FILES_VERSION} where 100,000 homes or more are in it, live or in fast-forward: a body is empty in its row and
lies in the file `bodies/SLOT` beside the ledger, durable before the row is. Where it is empty in its row,
that of a stretch lies in `bodies/FIRST-LAST` (slots), of a checkpoint in `bodies/checkpoint-SLOT`, of a start
in `bodies/start-SLOT`. A record of inputs that is empty in its row lies in the table `pieces`. In every copy
of such a ledger, and in those of earlier markets, `user_version` is {PIECES_VERSION}, the bodies of slots lie
in `pieces` too, and all others in their rows. A ledger is made by:
"""
_DIGESTS: Final = """
`seal`: SHA-256 over the hash, the JSON text `[slot, price, import, export, gap, weather_stale]`, and
`totals` and `meta`, each behind its length in bytes (u8). A checkpoint holds six columns i8 for all homes:
the four registers, the balance in µ€, the last slot with a row (-1: none); its digest is SHA-256(hash of its
slot, body). A compacted stretch is packed as a slot is, with the sums per home, no prices, gifts or orders.
The table `meta` holds what the market goes on from (`state`, `events`, `opening`, `opening_inputs`,
`first_slot`, `generation`) and whose ledger it is (`scenario_hash`, `genesis`, `homes`).
"""
_BATCH: Final = """
A column has the width that the header says, 0, 1, 2, 4 or 8 bytes a value, at most that of its type here; 0:
nothing but zeros. It is filled up with zeros to a multiple of 8 bytes. The registers of a batch are whole
(`since` is -1), or as growth since the reading of slot `since`, the last one that the ledger has of all these
homes; `registers` then is what all four registers of all homes come to after the slot, added up modulo 2^64.
Growth from another reading is refused (`RegistersUnknown`): the same slot may be handed in again, whole.
"""
_INPUTS: Final = """
## Ledger: the record of a slot's inputs

{intro} Table `inputs`; what the columns are differences to is told by the records before it, from a row
of `starts` on. An older ledger has neither table until a market opens it.

`flags`: bit 0 gap, 1 weather stale, 2 raining, 3 a weather sample follows, 4 taken up again after a restart,
5 anew: book, coefficients and policies are whole. `zero` is 0.
"""
_INPUTS_REST: Final = """
Then: the sample (WEATHER), if there is one; `news` bytes of JSON with the book of events (`book`) and the
coefficients (`price`), where they are not as the slot before has left them; for each batch first home, count,
claims, shed offers (u4 each), length of its id (u2), id; for each refused batch first home, count (u4), the
slot that it was of (i8), length of the reason (u2), reason; for each single order length of its id (u2), id.

Then {columns} widths (u1) and as many columns, as in a slot's body: {names}. The first four and `policy` are
differences to the home's last committed reading, and to the policy of its last batch; `giver` and `taker` of
a claim to those of the claim before it.

A start (table `starts`): head, `said` bytes of JSON with `state` (as in `meta`) and `tariff`, six widths, six
columns for all homes: those of a checkpoint, of the last slot 1 more. The record that follows it is *anew*.
"""
_TIED: Final = """
`digest` of a record and of a start: {digest}
"""
_SOCKETS: Final = """
## Market sockets

Varlink (JSON; each message ends with a NUL byte) on the Unix sockets `{TRADE_SOCKET}` and `{CONTROL_SOCKET}`
of the run directory, and on `{SUPERVISOR_SOCKET}`, which `energyctl up` serves; all answer
`org.varlink.service`. A frame has at most {trade_kib} KiB on `{TRADE_SOCKET}` and {control_kib} KiB on the
others. Descriptors travel by SCM_RIGHTS; a memory file must be sealed against writing, growing and shrinking.
"""
_REFUSALS: Final = """
### Refusals

The name of an error, the `reason` of a refused batch or order, or that of a void claim in the ledger:
"""


def _pages() -> Iterator[str]:
    cells, clock, board = Source("wire.cell"), Source("wire.clock_page"), Source("wire.board")
    weather, records = Source("core.weather"), Source("core.records")
    names = cells.names | {"intro": cells.intro()}
    yield "## Shared memory: cells and pages\n\n{intro}\n".format_map(names)
    remarks = cells.remarks("Header") | {"magic": "which page"}
    yield struct_table(cells, "HEADER", remarks, names=("magic", "version", "0", "cookie"))
    yield _CELLS.format_map(names)
    seal = [(0, "u8", "`sequence`", "even: at rest; odd: being written; 0: never written")]
    seal += [(8, "u4", "`checksum`", "CRC-32 (zlib) over sequence and payload"), (12, "u4", "", "0")]
    yield table(FIELDS, seal)
    yield _READING
    yield _CLOCK.format_map(clock.names | {"intro": clock.intro()})
    yield struct_table(clock, "LAYOUT", clock.remarks("ClockPage"))
    yield enum_table(records, "Phase")
    yield enum_table(clock, "Flag")
    yield _BOARD.format_map(board.names | {"intro": board.intro()})
    status = ("heartbeat_ns", "last_slot", "writer_pid")
    yield struct_table(board, "STATUS", board.remarks("Status"), names=status)
    stale_s = board.names["STALE_AFTER_NS"] / 1e9
    yield _ENTRIES.format_map(board.names | {"stale_s": stale_s})
    yield dtype_table(weather, "WEATHER")
    limits = [(f"`{name}`", low, high) for name, (low, high) in weather.names["LIMITS"].items()]
    yield table(("field", "lowest", "highest"), limits)


def _messages() -> Iterator[str]:
    offers, events, batch = Source("wire.offer_message"), Source("wire.event_record"), Source("wire.batch")
    records = Source("core.records")
    queue_bytes = Source("transport.resources").names["QUEUE_BYTES"]
    bargain = Source("home.bargain")
    given = {"given_back": bargain.names["GIVEN_BACK"], "given_back_is": bargain.note("GIVEN_BACK")}
    yield _QUEUE.format_map(offers.names | given | {"intro": offers.intro(), "queue_bytes": queue_bytes})
    ways = f"{offers.names['KIND_OFFERS']}: records, {offers.names['KIND_LINE']}: a line"
    said = {"number": "offers that follow", "kind": ways}
    yield struct_table(offers, "HEADER", offers.remarks("Head") | said)
    yield dtype_table(records, "OFFER")
    yield struct_table(offers, "LINE", offers.remarks("Line"))
    yield _LINE
    yield enum_table(records, "OfferState")
    turn = Source("wire.turn_message")
    yield _TURN.format_map(turn.names | {"intro": turn.intro(), "step_is": turn.note("EPOCH_STEP")})
    flags = {"flags": "1: lacking, 2: backs, 4: busy"}
    yield struct_table(turn, "LAYOUT", Source("core.turns").remarks("Turn") | flags)
    yield enum_table(Source("core.turns"), "Role")
    yield _EVENTS.format_map(events.names | {"intro": events.intro()})
    remarks = events.remarks("EventRecord") | {"type": "of RecordType", "duration": "slots; of BEGIN"}
    remarks |= {"checksum": "CRC-32 over bytes 0 to 3, then 8 to 31"}
    yield struct_table(events, "LAYOUT", remarks)
    yield enum_table(events, "RecordType")
    yield f"## Batch\n\n{batch.intro()}\n"
    kinds = f"{batch.names['KIND_BATCH']}: batch, {batch.names['KIND_RECEIPT']}: receipt"
    widths = {"widths": "bytes a value of each column, in order; the rest 0"}
    yield struct_table(batch, "HEADER", {"kind": kinds} | widths | batch.remarks("Head"))
    yield _BATCH
    yield columns_table(records, "BATCH_COLUMNS")
    yield enum_table(records, "Policy")
    yield dtype_table(records, "CLAIM")
    yield "## Receipt\n\nThe header of a batch (`claims` is 0), then the columns.\n"
    yield columns_table(records, "RECEIPT_COLUMNS")


def _files() -> Iterator[str]:
    file, state, records = Source("wire.state_file"), Source("core.state"), Source("core.records")
    weather = Source("wire.weather_file")
    yield _STATE.format_map(file.names | {"intro": file.intro()})
    yield struct_table(file, "LAYOUT", file.remarks("Shape") | file.remarks("Header"))
    owned = Source("core.owned").names
    kind_of: dict[str, int] = owned["KIND_OF"]
    of_kind = [
        ", ".join(f"`{name}`" for name in kind_of if kind_of[name] == kind) for kind in range(owned["KINDS"])
    ]
    who = ("who produces", "who has a turbine", "who has a battery", "who answers prices")
    said = "\n".join(f"- {each}: {names}" for each, names in zip(who, of_kind, strict=True))
    versions = ", ".join(
        f"{version}: of {homes}" for version, homes in file.names["SPARSE_BLOCK_HOMES"].items()
    )
    found = {"size": file.names["LAYOUT"].size, "owned": said, "versions": versions}
    names = state.names | file.names | owned | Source("core.sparse").names | found
    yield _AREAS.format_map(names)
    yield columns_table(state, "STATE_COLUMNS")
    yield columns_table(records, "REGISTERS")
    yield _WEATHER_FILE.format_map(weather.names | {"intro": weather.intro()})


def _ledger() -> Iterator[str]:
    ledger, records = Source("core.ledger"), Source("core.records")
    yield f"## Ledger: the body of a slot\n\n{ledger.intro()}\n"
    counts = ("slot_rows", "gift_rows", "order_rows")
    remarks = ledger.remarks("SlotHead") | dict.fromkeys(counts, "of the columns below")
    remarks |= {"flags": "bit 0: gap; bit 1: weather stale", "terms": "how many", "events": "how many"}
    yield struct_table(ledger, "_HEAD", remarks, counts)
    widths = ", ".join(map(str, Source("core.packed").names["WIDTHS"]))
    yield _BODY.format(columns=len(ledger.names["_COLUMNS"]), widths=widths)
    for name in ("SLOT_COLUMNS", "GIFT_COLUMNS", "ORDER_COLUMNS"):
        yield columns_table(records, name)
    yield _CHAIN
    yield _DATABASE.format_map(Source("transport.ledger_rows").names)
    yield f"```sql\n{_schema()}\n```\n"
    many = Source("transport.ledger_rows").names["LARGE_HOMES"]
    schema = Source("transport.pieces").names["SCHEMA"].strip()
    yield f"Version 2, of {many} homes or more, has in addition:\n\n```sql\n{schema}\n```\n"
    yield _DIGESTS
    yield from _records()


def _records() -> Iterator[str]:
    inputs, replay = Source("core.inputs"), Source("core.replay")
    yield _INPUTS.format(intro=inputs.intro())
    names = ("_MAGIC", "_VERSION", "flags", "zero", "slot", "temperature_mc", "import_ueur_per_kwh",
             "export_ueur_per_kwh", "news", "batches", "homes", "claims", "orders", "refused",
             "late_batches", "shed_offers")  # fmt: skip
    remarks = inputs.remarks("World") | inputs.remarks("Inputs")
    remarks |= {"news": "bytes", "homes": "of all batches", "batches": "how many", "claims": "of all batches"}
    remarks |= {"orders": "single orders", "refused": "batches that are named"}
    yield struct_table(inputs, "_HEAD", remarks, names=names)
    columns = inputs.names["_COLUMNS"]
    named = ", ".join(f"{kind} `{name}`" for kind, name in columns)
    yield _INPUTS_REST.format(columns=len(columns), names=named)
    remarks = {"slot": "after which it stands; -1: before the first", "said": "bytes"}
    remarks |= {"hash": "of that slot, or the genesis"}
    names = ("_MAGIC", "_VERSION", "zero", "0", "slot", "homes", "said", "hash")
    yield struct_table(replay, "_HEAD", remarks, names=names)
    said = next(
        node for node in replay.tree.body if isinstance(node, ast.FunctionDef) and node.name == "digest"
    )
    yield _TIED.format(digest=" ".join((ast.get_docstring(said) or "").split("\n\n")[1].split()))


def _schema() -> str:
    """The statements of a ledger that has just been made, as SQLite keeps them."""
    store = Source("transport.store").names["LedgerStore"]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "ledger.db"
        made = store(path)
        made.open(scenario_hash="", genesis=b"", homes=1)
        made.close()
        database = sqlite3.connect(path)
        rows = database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
        text = ";\n".join(row[0] for row in rows) + ";"
        database.close()
    return text


def _sockets() -> Iterator[str]:
    messages, refusals = Source("wire.messages"), Source("core.refusals").names["Refusal"]
    limits = Source("transport.server_limits").names
    frames = {"trade": limits["TRADE_LIMITS"], "control": limits["ServerLimits"]()}
    kib = {f"{name}_kib": each.frame_bytes_max >> 10 for name, each in frames.items()}
    yield _SOCKETS.format_map(messages.names | kib)
    for name in ("TRADE", "CONTROL", "SUPERVISOR"):
        text = messages.names[f"{name}_INTERFACE"].strip()
        yield f"### {messages.names[name]}\n\n```varlink\n{text}\n```\n"
    yield _REFUSALS
    yield table(("name", "meaning"), [(f"`{each.value}`", each.text) for each in refusals])


def exit_codes() -> str:
    """The table of exit codes."""
    codes = Source("exits").names["Exit"]
    rows = [(int(each), each.name.lower().replace("_", " "), each.meaning) for each in codes]
    return table(("code", "name", "meaning"), rows)


def page() -> str:
    """The protocol page."""
    parts = (_pages(), _messages(), _files(), _ledger(), _sockets())
    made = [_HEAD, *(text for part in parts for text in part), f"## Exit codes\n\n{exit_codes()}"]
    return "\n".join(text.strip() + "\n" for text in made)
