"""The price of every slot: its terms, its inertia, the chain of prices, floor, cap and tariff."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from energymarket.audit.findings import Findings, Kind
from energymarket.core.parameters import price_model_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from energymarket.audit.opened import Notes, Opened
    from energymarket.core.parameters import Factor, PriceModel
    from energymarket.scenario.compiled import Compiled
    from energymarket.transport.store import SlotRow

INERTIA = "inertia"


class Prices:
    """Hears slots in order: the price of each follows from the one before."""

    def __init__(self, findings: Findings, compiled: Compiled | None) -> None:
        self._findings = findings
        self._compiled = compiled
        self._model: PriceModel | None = None if compiled is None else compiled.price
        self._previous: int | None = None if self._model is None else self._model.initial_ueur_per_kwh
        self._flows: tuple[int, int] | None = (0, 0)  # consumed, produced in the slot before; None: unknown

    def pass_over(self, row: SlotRow, notes: Notes | None) -> None:
        """A slot without detail: only its price, its flows and a reload are known."""
        self._previous = row.price_ueur_per_kwh
        if notes is not None:
            self._follow_reload(row.slot, notes)
        self._note_flows(notes)

    def check(self, slot: Opened) -> None:
        """One slot."""
        self._follow_reload(slot.slot, slot.notes)
        self._check_sum(slot)
        self._check_chain(slot)
        if self._compiled is not None and self._model is not None:
            self._check_limits(slot, self._model)
            self._check_tariff(slot, self._compiled)
            self._check_model(slot, self._compiled, self._model)
        self._previous = slot.head.price_ueur_per_kwh
        self._note_flows(slot.notes)

    def _follow_reload(self, slot: int, notes: Notes) -> None:
        """Where coefficients are new, the row carries them; its seal holds them."""
        fresh = notes.meta.get("coefficients")
        if fresh is None:
            return
        try:
            self._model = price_model_from(fresh)
        except (TypeError, KeyError) as error:
            text = f"reloaded coefficients cannot be read ({error})"
            self._findings.add(Kind.PRICE_WRONG, text, slot=slot, account="coefficients")

    def _note_flows(self, notes: Notes | None) -> None:
        totals = {} if notes is None else notes.totals
        known = "consumed_wh" in totals and "produced_wh" in totals
        self._flows = (totals["consumed_wh"], totals["produced_wh"]) if known else None

    def _same(self, slot: Opened, text: str, expected: object, account: str, found: object) -> None:
        self._findings.same(Kind.PRICE_WRONG, text, expected, found, slot=slot.slot, account=account)

    def _check_sum(self, slot: Opened) -> None:
        head = slot.head
        total = sum(value for _, value in head.terms)
        self._same(
            slot,
            "the terms do not add up to it",
            total,
            "unclipped_ueur_per_kwh",
            head.unclipped_ueur_per_kwh,
        )
        self._same(slot, "the first term", INERTIA, "terms", head.terms[0][0] if head.terms else "")

    def _check_chain(self, slot: Opened) -> None:
        """Inertia is gamma times the price before, rounded half even; gamma stands in the row."""
        head, gamma = slot.head, slot.notes.meta.get("gamma")
        if self._previous is not None:
            self._same(
                slot,
                "not the price of the slot before",
                self._previous,
                "previous_ueur_per_kwh",
                head.previous_ueur_per_kwh,
            )
        if not isinstance(gamma, int | float) or not head.terms:
            self._same(slot, "the row says no gamma", "a number", "gamma", repr(gamma))
            return
        expected = round(gamma * head.previous_ueur_per_kwh)
        self._same(slot, "not gamma times the price before", expected, INERTIA, head.terms[0][1])
        if self._model is not None:
            self._same(slot, "not the coefficient that holds", repr(self._model.gamma), "gamma", repr(gamma))

    def _check_tariff(self, slot: Opened, compiled: Compiled) -> None:
        head, tariff = slot.head, compiled.tariff
        asked, paid = compiled.import_export_at(slot.slot)
        if tariff.follows_price:
            asked = paid = head.price_ueur_per_kwh
        pairs = {"import": asked, "export": paid, "gift_fee": tariff.gift_fee_ueur_per_kwh}
        for name, expected in pairs.items():
            account = f"{name}_ueur_per_kwh"
            self._findings.same(
                Kind.TARIFF_WRONG,
                "not the scenario's tariff",
                expected,
                getattr(head, account),
                slot=slot.slot,
                account=account,
            )

    def _check_limits(self, slot: Opened, model: PriceModel) -> None:
        """The published price is the sum of the terms, within floor and cap."""
        head = slot.head
        expected = min(max(head.unclipped_ueur_per_kwh, model.floor_ueur_per_kwh), model.cap_ueur_per_kwh)
        text = "not the sum of the terms, within floor and cap"
        self._same(slot, text, expected, "price_ueur_per_kwh", head.price_ueur_per_kwh)

    def _check_model(self, slot: Opened, compiled: Compiled, model: PriceModel) -> None:
        """Every term that can be computed without having been there."""
        head = slot.head
        names = [INERTIA, *(factor.name for factor in model.factors), *(name for name, _ in head.events)]
        shown = [name for name, _ in head.terms]
        self._same(slot, "the terms are of other causes", " ".join(names), "terms", " ".join(shown))
        if shown != names:
            return
        factors = {factor.name: _value(factor, slot, compiled, self._flows) for factor in model.factors}
        for number, (name, found) in enumerate(head.terms[1:]):
            expected = _term(number, name, model, factors, dict(head.events))
            if expected is not None:
                self._same(slot, "not coefficient times cause", expected, name, found)


def _term(
    number: int,
    name: str,
    model: PriceModel,
    factors: Mapping[str, float | None],
    events: Mapping[str, int],
) -> int | None:
    """Coefficient times cause, half even; None where only those who were there know the cause."""
    if number < len(factors):
        cause = factors[name]
        alpha = next((each.alpha_ueur_per_kwh for each in model.factors if each.name == name), 0.0)
        return None if cause is None else round(alpha * cause)
    beta = next((kind.beta_ueur_per_kwh for kind in model.events if kind.name == name), 0.0)
    return round(beta * events[name] / 1000)


def _value(factor: Factor, slot: Opened, compiled: Compiled, flows: tuple[int, int] | None) -> float | None:
    if factor.name == "base":
        return 1.0
    if factor.name == "import_price":
        return float(slot.head.import_ueur_per_kwh)
    if factor.name == "export_price":
        return float(slot.head.export_ueur_per_kwh)
    if factor.name == "imbalance":
        if flows is None:
            return None
        consumed, produced = flows
        return (consumed - produced) / (consumed + produced) if consumed + produced else 0.0
    if slot.head.weather_stale or _weather(compiled).get("live", True):
        return None
    temperature_mc = int(compiled.weather[compiled.table_row(slot.slot)]["temperature_mc"])
    match factor.name:
        case "heating_degrees":
            return max(0.0, factor.reference_c - temperature_mc / 1000)
        case "cooling_degrees":
            return max(0.0, temperature_mc / 1000 - factor.reference_c)
        case "inverse_temperature":
            return 1000 / max(temperature_mc, 1000)
        case _:
            return None


def _weather(compiled: Compiled) -> dict[str, Any]:
    found: dict[str, Any] = compiled.settings.get("weather", {})
    return found
