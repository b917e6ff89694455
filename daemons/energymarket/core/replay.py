"""A slot settled once more from the record of its inputs: the same market, with nobody outside.

`Player.begin` takes a market between two slots (`Start`), `play` one record after the other: open, hear,
close, commit, as the live market did. No hash of the ledger is looked at, and a body only by a record
that follows from it.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.core.events import EventBook
from energymarket.core.heard import Heard
from energymarket.core.inputs import Before, Inputs, unpack
from energymarket.core.limits import HOMES_MAX
from energymarket.core.market import NO_SLOT, Accounts, Market, Outside, Rules
from energymarket.core.packed import CorruptError, Reader, narrow
from energymarket.core.parameters import PriceModel, Rule, Tariff
from energymarket.core.settlement import Readings

if TYPE_CHECKING:
    import numpy.typing as npt

    from energymarket.core.market import Closed

_MAGIC: Final = b"EMST"
_VERSION: Final = 1
_HEAD: Final = struct.Struct("<4sBBHqII32s")
_COLUMNS: Final = (
    "production_wh",
    "consumption_wh",
    "import_wh",
    "export_wh",
    "balance_ueur",
    "last_slot",
    "weight",
)
_PAGE_BYTES: Final = 4_096
_LOOK_BYTES: Final = 64 * _PAGE_BYTES
_NO_MODEL: Final = PriceModel(0, 0.0, (), (), 0, 0)  # the first record brings one


class StartCorrupt(CorruptError):
    """A start that `pack` never made: what is wrong, and at which byte."""

    thing = "start of a replay"


class NotReplayableError(Exception):
    """A record that the market would not have taken as it stands: what it says, and why not."""


@dataclass(frozen=True, slots=True)
class Start:
    """A market between two slots. The record that follows it is `anew`: book and coefficients are in it."""

    state: str  # of `Market.state`
    hash: bytes  # of the last committed slot, or the genesis
    tariff: Tariff
    accounts: Accounts
    sharing: Rule = Rule.QUEUE
    key_weights: npt.NDArray[np.int64] | None = None  # as in `Rules`

    @property
    def slot(self) -> int:
        """The slot after which it stands; NO_SLOT before the first."""
        return int(json.loads(self.state)["slot"])

    def pack(self) -> bytes:
        """The start as bytes: head, state and tariff as JSON, widths, columns per home packed narrowly."""
        return b"".join(self.parts())

    def parts(self) -> tuple[bytes | memoryview, ...]:
        """The same in parts that follow each other: views of the accounts, which must rest meanwhile."""
        facts = {"state": json.loads(self.state), "tariff": asdict(self.tariff), "sharing": str(self.sharing)}
        said = json.dumps(facts | {"weighted": self.key_weights is not None}).encode()
        homes = len(self.accounts.balance_ueur)
        *columns, last_slot = self.accounts.columns()
        weights = np.zeros(homes, np.int64) if self.key_weights is None else self.key_weights
        packed = [narrow(column) for column in (*columns, last_slot - NO_SLOT, weights)]
        head = _HEAD.pack(_MAGIC, _VERSION, 0, 0, self.slot, homes, len(said), self.hash)
        widths = bytes(0 if column is None else column.itemsize for column in packed)
        columns_ = (column.view(np.uint8).data for column in packed if column is not None and len(column))
        return (head, said, widths, *columns_)


def unpack_start(body: bytes | memoryview) -> Start:
    """The start of `Start.pack`; StartCorrupt if it is none."""
    reader = Reader(memoryview(body), StartCorrupt)
    magic, version, flags, zero, slot, homes, size, chain_hash = reader.fields(_HEAD, "head")
    if magic != _MAGIC:
        raise StartCorrupt("not a start of a replay", 0)
    if version != _VERSION or flags or zero:
        raise StartCorrupt(f"version {version} is not {_VERSION}", 4)
    if not 1 <= homes <= HOMES_MAX:
        raise StartCorrupt(f"{homes} homes", 16)
    at = reader.at
    try:
        said = json.loads(reader.text(size, "state"))
        state, tariff = json.dumps(said["state"]), Tariff(**said["tariff"])
        sharing, weighted = Rule(said["sharing"]), bool(said["weighted"])
        if said["state"]["slot"] != slot:
            raise StartCorrupt("the state is of another slot", at)
    except (ValueError, KeyError, TypeError) as error:
        raise StartCorrupt(f"state or tariff cannot be read: {error}", at) from error
    at = reader.at
    widths = bytes(reader.take(len(_COLUMNS), "widths"))
    columns = [
        reader.column(width, homes, name, at + number)
        for number, (width, name) in enumerate(zip(widths, _COLUMNS, strict=True))
    ]
    reader.end()
    accounts = Accounts(Readings(*columns[:4]), columns[4], Heard.of(columns[5] + NO_SLOT))
    return Start(state, chain_hash, tariff, accounts, sharing, columns[6] if weighted else None)


def digest(chain_hash: bytes, *body: bytes | memoryview) -> bytes:
    """Ties a record, or a start, to its place in the chain; any damage to one byte is seen.

    SHA-256 over the chain's hash, the length of the body (u8), the sums of the 8-byte words of each page of
    4096 bytes of it (u8, modulo 2^64), and its last bytes, fewer than a page. SHA-256 over all of it would
    cost the market as much again as packing, and prove no more: what counts in a record, the replay proves.
    The body may come in parts.
    """
    length = sum(memoryview(part).nbytes for part in body)
    found = hashlib.sha256(chain_hash + length.to_bytes(8, "little"))
    rest = b""  # of a page that has begun in a part before
    for part in body:
        view = memoryview(part).cast("B")
        if rest:
            lacks = _PAGE_BYTES - len(rest)
            rest += bytes(view[:lacks])
            view = view[lacks:]
            if len(rest) < _PAGE_BYTES:
                continue
            found.update(_sums_of_pages(memoryview(rest)))
        whole = len(view) - len(view) % _PAGE_BYTES
        found.update(_sums_of_pages(view[:whole]))
        rest = bytes(view[whole:])
    found.update(rest)
    return found.digest()


def _sums_of_pages(pages: memoryview) -> bytes:
    found = []
    for start in range(0, len(pages), _LOOK_BYTES):
        data = np.frombuffer(pages[start : start + _LOOK_BYTES], np.uint8)
        if data.ctypes.data % 8:
            data = data.copy()  # words that lie across are added four times slower
        words = data.view("<u8").reshape(-1, _PAGE_BYTES // 8)
        found.append(np.add.reduce(words, axis=1, dtype=np.uint64).astype("<u8").tobytes())
    return b"".join(found)


class Player:
    """A market that hears records in the place of the world."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.policy = np.zeros(market.rules.homes, np.uint8)
        self._grid = (0, 0)  # import and export price of the slot that is played

    @classmethod
    def begin(cls, start: Start) -> Player:
        """A market that stands where the start says. Raises StartCorrupt."""
        homes = len(start.accounts.balance_ueur)
        rules = Rules(_NO_MODEL, start.tariff, homes, lambda _slot: (0, 0), start.sharing, start.key_weights)
        market = Market(rules, start.accounts.copy(), start.hash, 0, EventBook(0))
        try:
            market.resume(start.state, start.hash)
        except (KeyError, TypeError) as error:
            raise StartCorrupt(f"the state lacks something: {error}", _HEAD.size) from error
        player = cls(market)
        market.rules = replace(rules, tariff_at=lambda _slot: player._grid)
        return player

    def read(self, body: bytes, slot_body: bytes | None = None) -> Inputs:
        """The record of the next slot; one that follows, with the body of that slot. Raises InputsCorrupt."""
        return unpack(body, Before(self.market.accounts.readings, self.policy), slot_body)

    def play(self, inputs: Inputs) -> Closed:
        """Open, hear, close, commit. Raises NotReplayableError."""
        market, world = self.market, inputs.world
        if market.slot not in {NO_SLOT, world.slot - 1}:
            raise NotReplayableError(f"slot {world.slot} does not follow slot {market.slot}")
        self._open(inputs)
        for batch in inputs.batches:
            problems = market.hear_batch(batch)
            if problems:
                raise NotReplayableError(
                    f"batch {batch.id} of homes {batch.first} to {batch.first + batch.count - 1} "
                    f"would have been refused: {', '.join(problem.value for problem in problems)}"
                )
        for order in inputs.orders:
            if not 1 <= order.home <= market.rules.homes or (order.home, order.id) in market.orders_known:
                raise NotReplayableError(f"order {order.id} of home {order.home} would not have been booked")
            market.hear_order(order.home, order.energy_wh, order.id)
        closed = market.close_slot()
        market.commit_slot(closed)
        for batch in inputs.batches:
            self.policy[batch.first - 1 : batch.first - 1 + batch.count] = batch.columns["policy"]
        return closed

    def _open(self, inputs: Inputs) -> None:
        market, world = self.market, inputs.world
        if inputs.anew:
            self.policy[:] = 0
            if world.book is None or world.model is None:
                raise NotReplayableError("a record that takes nothing from before lacks book or coefficients")
        if world.model is not None:
            market.rules = replace(market.rules, price=world.model)
        if world.book is not None:
            market.book = world.book
        kinds = len(market.rules.price.events)
        if not all(0 <= event.kind < kinds for event in market.book.events.values()):
            raise NotReplayableError("an event is of a kind that the coefficients do not have")
        self._grid = (world.import_ueur_per_kwh, world.export_ueur_per_kwh)
        outside = Outside(world.temperature_mc, world.raining, world.weather_stale)
        market.open_slot(world.slot, outside, gap=inputs.gap)

    def standing(self) -> Start:
        """The market as it stands now, as a start."""
        market = self.market
        return Start(market.state(), market.hash, market.rules.tariff, market.accounts)
