"""Hash chain, seals, and the digests of compacted stretches, recomputed from the bytes."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from energymarket.audit.findings import Findings, Kind

if TYPE_CHECKING:
    from energymarket.audit.source import Checkpoint, Facts, Stretch
    from energymarket.transport.store import SlotRow


def genesis_of(scenario_hash: str) -> bytes:
    """The hash before the first slot: of the ledger's first words and the scenario's hash."""
    return hashlib.sha256(b"energy-market ledger 1\n" + scenario_hash.encode()).digest()


def seal_of(row: SlotRow) -> bytes:
    """SHA-256 over hash, numbers and texts of a row: everything but its body."""
    numbers = [
        row.slot,
        row.price_ueur_per_kwh,
        row.import_ueur_per_kwh,
        row.export_ueur_per_kwh,
        int(row.gap),
        int(row.weather_stale),
    ]
    parts = [row.hash, json.dumps(numbers).encode()]
    for text in (row.totals, row.meta):
        data = text.encode()
        parts += [len(data).to_bytes(8, "little"), data]
    return hashlib.sha256(b"".join(parts)).digest()


class Chain:
    """Hears sealed slots in order. After a break it goes on from what the row says."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._previous: bytes | None = None
        self.last: int | None = None
        self.first: int | None = None
        self.compacted = 0

    @property
    def hash(self) -> str:
        """The last hash."""
        return "" if self._previous is None else self._previous.hex()

    def begin(self, facts: Facts, scenario_hash: str | None) -> None:
        """Tie the first slot to the scenario, as far as it is known."""
        known = scenario_hash or facts.scenario_hash
        if known is not None:
            self._previous = genesis_of(known)
        if scenario_hash is not None and facts.scenario_hash is not None:
            self._findings.same(
                Kind.GENESIS_DIFFERS,
                "the ledger is of another scenario",
                scenario_hash,
                facts.scenario_hash,
                slot=None,
                account="scenario_hash",
            )
        if facts.genesis is not None and self._previous is not None and facts.genesis != self._previous:
            self._findings.add(
                Kind.GENESIS_DIFFERS,
                "the genesis is not that of the scenario",
                expected=self._previous.hex(),
                found=facts.genesis.hex(),
            )

    def hear(self, row: SlotRow) -> None:
        """One sealed slot."""
        if self.last is not None and row.slot != self.last + 1:
            self._findings.add(
                Kind.SLOT_MISSING,
                "no such slot in the ledger",
                slot=self.last + 1,
                expected=self.last + 1,
                found=row.slot,
            )
        if self.first is None:
            self.first = row.slot
        sealed = seal_of(row)
        if sealed != row.seal:
            self._findings.add(
                Kind.SEAL_BROKEN,
                "price, totals or notes of the row were changed",
                slot=row.slot,
                expected=sealed.hex(),
                found=row.seal.hex(),
            )
        if row.body is None:
            self.compacted += 1
        elif self._previous is not None:
            expected = hashlib.sha256(self._previous + row.body).digest()
            if expected != row.hash:
                self._findings.add(
                    Kind.CHAIN_BROKEN,
                    "the hash does not follow from the slot before and the body",
                    slot=row.slot,
                    expected=expected.hex(),
                    found=row.hash.hex(),
                )
        self._previous, self.last = row.hash, row.slot

    def tie_stretch(self, stretch: Stretch, last_hash: bytes) -> None:
        """The sums of a compacted stretch, once its last slot has been heard."""
        self._tie(
            Kind.STRETCH_BROKEN, "the sums of the stretch were changed", stretch.last, last_hash, stretch
        )

    def tie_checkpoint(self, checkpoint: Checkpoint, its_hash: bytes) -> None:
        """A checkpoint, with the hash of its slot."""
        self._tie(
            Kind.CHECKPOINT_DIFFERS, "the checkpoint was changed", checkpoint.slot, its_hash, checkpoint
        )

    def _tie(self, kind: Kind, text: str, slot: int, its_hash: bytes, tied: Stretch | Checkpoint) -> None:
        expected = hashlib.sha256(its_hash + tied.body).hexdigest()
        self._findings.same(kind, text, expected, tied.digest.hex(), slot=slot, account="digest")
