"""Checkpoints: the accounts after the last slot, for a restart, and the market as it stands, for a replay.

They are written between two slots, while the next one is open and the accounts rest, a piece at a time.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from energymarket.transport.bodies import checkpoint_name, start_name
from energymarket.transport.store import TiedRow

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from energymarket.core.market import Accounts, Market
    from energymarket.market.recorder import Recorder
    from energymarket.transport.bodies import Draft
    from energymarket.transport.store import LedgerStore

PIECE_HOMES: Final = 131_072
"""Of a column, 1 MiB: it stays in the cache from the accounts to the disk."""


def put(store: LedgerStore, market: Market, recorder: Recorder | None) -> Iterator[None]:
    """Make both durable; each step is a piece of the work. Raises StoreError; then neither is there.

    If a slot is committed before the last step, the accounts have moved on: begin anew.
    """
    slot = market.slot
    start, digest = None, hashlib.sha256(market.hash)
    draft = store.draft(checkpoint_name(slot))
    try:
        for piece in _pieces(market.accounts):
            digest.update(piece)
            draft.append(piece)
            yield
        draft.finish(b"")
        yield
        if recorder is not None and store.is_recorded(slot):
            found = recorder.start()
            body = yield from _written(store.draft(start_name(slot)), found.parts)
            start = TiedRow(slot, body, found.digest)
        store.put_checkpoint(slot, (draft.in_row(), digest.digest()), start)
        if recorder is not None and start is not None:
            recorder.started()
    finally:
        draft.close()


def _pieces(accounts: Accounts) -> Iterator[memoryview]:
    """What `Accounts.pack` puts together."""
    for column in accounts.columns():
        for first in range(0, len(column), PIECE_HOMES):
            yield column[first : first + PIECE_HOMES].astype("<i8").data.cast("B")


def _written(draft: Draft, parts: Iterable[bytes | memoryview]) -> Generator[None, None, bytes]:
    try:
        for part in parts:
            draft.append(part)
            yield
        draft.finish(b"")
        return draft.in_row()
    finally:
        draft.close()
