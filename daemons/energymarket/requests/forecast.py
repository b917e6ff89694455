"""forecast: price and net load of the slots ahead with a band, by the market's own core run forward.

A question may have `for` ("1d", "96"), `samples`, `seed`, `weather` (the part of the climate's spread that is
unknown, 0 to 2), `events` and `homes` (false: no further events begin, households do what the scenario's seed
says).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from energymarket.exits import Failure
from energymarket.requests import asked
from energymarket.requests.kind import Context, Refused, RequestType
from energymarket.requests.premises import Premises, Teller, premises

if TYPE_CHECKING:
    from energymarket.foresight.forecast import Asked
    from energymarket.foresight.present import Found

MEMBERS: Final = ("for", "samples", "seed", "weather", "events", "homes")

LOOKS_MAX: Final = 20
"""How often a market that runs away is looked at again: homes keep a state for a slot or two."""

SLOTS_MAX: Final = 10_000
_SEED_MAX: Final = (1 << 63) - 1
_WEATHER_MAX: Final = 2.0


def _answer(question: Mapping[str, object], context: Context) -> Mapping[str, object]:
    asked.known_only(question, MEMBERS)
    told = Teller(context.progress)
    context.progress(0.0, "asking the market")
    with premises(context) as found:
        from energymarket.foresight.forecast import forecast

        wanted = _wanted(question, found)
        present, homes = _present(found, told)
        compiled = found.compiled
        return forecast(compiled, present, homes, wanted, told)


def _wanted(question: Mapping[str, object], found: Premises) -> Asked:
    from energymarket.engine.api import slots_in
    from energymarket.foresight import forecast
    from energymarket.foresight.weather_paths import PART

    try:
        slots = slots_in(asked.words(question, "for") or "1d", found.compiled.period)
    except Failure as failure:
        raise Refused("'for' of the question", str(failure.args[0]), failure.hint) from failure
    if slots > SLOTS_MAX:
        raise Refused(
            f"{slots:,} slots ahead are too many", f"{SLOTS_MAX:,} at most are played", "ask for less: 1d"
        )
    low, high = forecast.SAMPLES_MIN, forecast.SAMPLES_MAX
    part = asked.number(question, "weather", 0.0, _WEATHER_MAX)
    return forecast.Asked(
        slots=slots,
        samples=asked.whole(question, "samples", low, high) or forecast.SAMPLES,
        seed=asked.whole(question, "seed", 0, _SEED_MAX) or 0,
        weather_part=PART if part is None else part,
        events=asked.is_asked(question, "events", default=True),
        homes=asked.is_asked(question, "homes", default=True),
    )


def _present(found: Premises, told: Teller) -> tuple[Mapping[str, Any], Found]:
    """The market after a slot, and the homes after the same one: neither waits for us."""
    from energymarket.foresight.present import NOT_FOUND, states_at

    directory = found.homes_dir
    for _ in range(LOOKS_MAX):
        told(0.0, "reading the homes' states")
        present = found.ledger.ask("Present")
        slot = NOT_FOUND if present["slot"] is None else int(present["slot"])
        homes = states_at(directory, found.compiled, slot)
        if homes is None:
            continue  # the market has gone on meanwhile
        if slot != NOT_FOUND and not (homes.slot > NOT_FOUND).any():
            raise Refused(
                "the homes' states are not to be had",
                f"{directory} holds none that this user may read",
                "is the pool running?  energyctl status",
            )
        return present, homes
    raise Refused(
        "the market goes on faster than it can be read",
        f"its homes have left every slot behind before their states were read, {LOOKS_MAX} times",
        "ask a market of a lower speed",
    )


REQUEST: Final = RequestType("forecast", ticketed=True, answer=_answer)
