"""`energyctl wait`: blocks until the market is ready, a slot is committed, or the price is as wished."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from operator import eq, ge, gt, le, lt
from typing import Annotated, Any, Final

import typer

from energyctl.awaiting import OVER, Snapshot, Watching
from energyctl.exits import Exit, ProblemError
from energyctl.quantities import UEUR_PER_EUR, finite, price
from energyctl.render import Answer
from energyctl.session import session
from energyctl.slotline import with_eur

_TRADING: Final = frozenset({"exchange", "trade", "clearing"})
_HOLDS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": lt, "<=": le, ">": gt, ">=": ge, "=": eq, "==": eq,
}  # fmt: skip
_PRICE: Final = r"\s*(<=|>=|==|<|>|=)\s*([+-]?[0-9]{1,6}(?:\.[0-9]{1,9})?)\s*"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("wait", context_settings={"ignore_unknown_options": True})(wait)


def wait(
    ctx: typer.Context,
    condition: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ready | slot N | price '<0.20']",
            help="All homes trade (without words); slot N is committed; the price in €/kWh compares so.",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", min=0.0, callback=finite, metavar="S", help="Give up after so many seconds."
        ),
    ] = None,
) -> Answer:
    """Wait until something holds; also for a market that is not there yet. Exit code 6: not in time."""
    met: Callable[[Snapshot], bool]
    words: Callable[[Snapshot], str]
    match condition or ["ready"]:
        case ["ready"]:
            met, what, words = _ready, "all homes trade", _ready_words
        case ["slot", number] if number.isdecimal():
            met, what, words = _slot(int(number)), f"slot {number} is committed", _slot_words
        case ["price", *rest] if (match := re.fullmatch(_PRICE, " ".join(rest))) is not None:
            met, what, words = (
                _price(match[1], Decimal(match[2])),
                f"price {match[1]} {match[2]}",
                _price_words,
            )
        case given:
            raise ProblemError(
                Exit.USAGE,
                "usage",
                f"{' '.join(given)!r} is nothing to wait for",
                "it is ready, slot N, or price with a comparison: < <= > >= =",
                "for example: energyctl wait price '<0.20' --timeout 60",
            )
    snapshot = Watching(session(ctx), timeout).until(met, what)
    return Answer({"type": "waited", "for": what, "snapshot": with_eur(snapshot)}, (words(snapshot),))


def _ready(snapshot: Snapshot) -> bool:
    """The market serves, and every home of the scenario has joined."""
    if snapshot.get("phase") == "ended":
        raise _never("the market will not trade again", snapshot)
    homes = snapshot.get("homes")
    return (
        snapshot.get("phase") in _TRADING and homes is not None and snapshot.get("homes_joined", 0) >= homes
    )


def _slot(wanted: int) -> Callable[[Snapshot], bool]:
    def met(snapshot: Snapshot) -> bool:
        last, end = snapshot.get("slot"), snapshot.get("end_slot")
        if isinstance(last, int) and last >= wanted:
            return True
        if snapshot.get("phase") == "ended" or (isinstance(end, int) and end < wanted):
            raise _never(f"slot {wanted} will not come", snapshot)
        return False

    return met


def _price(comparison: str, wanted_eur: Decimal) -> Callable[[Snapshot], bool]:
    holds, wanted_ueur = _HOLDS[comparison], wanted_eur * UEUR_PER_EUR

    def met(snapshot: Snapshot) -> bool:
        now = _price_now(snapshot)
        if now is not None and holds(now, wanted_ueur):
            return True
        if snapshot.get("phase") == "ended":
            raise _never("the price will not change any more", snapshot)
        return False

    return met


def _price_now(snapshot: Snapshot) -> int | None:
    """The price of the open slot; between slots that of the last."""
    opened, done = snapshot.get("open_slot"), snapshot.get("slot")
    if isinstance(opened, int) and (not isinstance(done, int) or opened > done):
        return int(snapshot["open_price_ueur_per_kwh"])
    found = snapshot.get("price_ueur_per_kwh")
    return found if isinstance(found, int) else None


def _never(what: str, snapshot: Snapshot) -> ProblemError:
    end = snapshot.get("end_slot", snapshot.get("slot"))
    state = "it has ended" if snapshot.get("phase") in OVER else "it ends"
    return ProblemError(
        Exit.NO_SUCH_OBJECT, "never", what, f"{state} with slot {end}", "energyctl up without --for goes on"
    )


def _ready_words(snapshot: Snapshot) -> str:
    return f"ready: {snapshot['homes_joined']} of {snapshot['homes']} homes trade"


def _slot_words(snapshot: Snapshot) -> str:
    return f"slot {snapshot['slot']} is committed, {price(snapshot['price_ueur_per_kwh'])} €/kWh"


def _price_words(snapshot: Snapshot) -> str:
    slot = max(snapshot.get("open_slot", -1), snapshot.get("slot", -1))
    return f"{price(_price_now(snapshot) or 0)} €/kWh in slot {slot}"
