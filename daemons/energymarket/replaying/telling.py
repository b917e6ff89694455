"""What a replay has shown, in words and as one document."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from energymarket.replaying.households import Households
    from energymarket.replaying.rerun import Outcome

_NAMED: Final = 5  # of late batches, shed offers and homes; `--json` has more
WHY_NONE: Final = (
    "it was made by fast-forward, by a version before records were kept, or with [service] record = false"
)


def document(outcome: Outcome, households: Households | None) -> dict[str, Any]:
    """For programs."""
    finding = outcome.finding
    spans = ("played", "compacted", "unrecorded", "gaps", "stale", "reopened", "reloaded")
    counted = ("late_batches", "shed_offers", "void_claims", "orders", "begun")
    return {
        "type": "replay",
        "equal": finding is None and outcome.played.count > 0,
        "slots": outcome.played.count,
        "ledger_hash": outcome.hash or None,
        "finding": None if finding is None else asdict(finding),
        **{name: getattr(outcome, name).document() for name in spans},
        **{name: getattr(outcome, name) for name in counted},
        "late": [asdict(each) for each in outcome.late],
        "shed": [asdict(each) for each in outcome.shed],
        "homes": None if households is None else households.document(),
    }


def lines(outcome: Outcome, households: Households | None) -> Iterator[str]:
    """For people."""
    played, finding = outcome.played, outcome.finding
    if played.count:
        yield f"slots {played.text()}: {played.count} replayed, equal to the ledger, hash {outcome.hash}"
    if finding is not None:
        yield f"slot {finding.slot}: {finding.kind}: {finding.text}"
    for spans, why in (
        (outcome.compacted, "their detail was compacted"),
        (outcome.unrecorded, "there is no record to begin from, or none of them"),
    ):
        if spans.count:
            yield f"not replayed: {spans.count} slots, {why} ({spans.text()})"
    yield f"late batches: {outcome.late_batches}" + _named(
        f"slot {each.slot}: {_homes(each.first, each.count)}" for each in outcome.late
    )
    yield f"shed offers: {outcome.shed_offers}" + _named(
        f"slot {each.slot}: {each.offers} of {_homes(each.first, each.count)}" for each in outcome.shed
    )
    for name, spans in (
        ("gap slots", outcome.gaps),
        ("slots with stale weather", outcome.stale),
        ("slots taken up again after a restart", outcome.reopened),
        ("reloaded coefficients", outcome.reloaded),
    ):
        yield f"{name}: {spans.count}" + (f" ({spans.text()})" if spans.count else "")
    yield f"void claims: {outcome.void_claims}"
    if households is not None:
        yield from _of_homes(households.document())


def _homes(first: int, count: int) -> str:
    return f"home {first}" if count == 1 else f"homes {first} to {first + count - 1}"


def _named(each: Iterable[str]) -> str:
    named = list(each)
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return f" ({'; '.join(named[:_NAMED])}{more})" if named else ""


def _of_homes(found: dict[str, Any]) -> Iterator[str]:
    if found["foreign_prices_since_slot"] is not None:
        yield f"the grid's prices are not the scenario's from slot {found['foreign_prices_since_slot']} on"
    if found["heard"]:
        equal = found["heard"] - found["differing_count"]
        named = _named(f"home {each['home']} since slot {each['since_slot']}" for each in found["differing"])
        yield f"registers as the scenario's physics makes them: {equal} of {found['heard']} homes" + (
            f"; not so{named}" if named else ""
        )
    if found["unknown"]:
        yield f"the homes cannot be lived through (further): {found['unknown']}"
