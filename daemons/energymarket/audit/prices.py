"""The price of every slot: its terms, its inertia, the chain of prices, floor, cap and tariff."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from energymarket.audit.findings import Findings, Kind
from energymarket.core.parameters import EventKind, Factor, PriceModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from energymarket.audit.opened import Notes, Opened
    from energymarket.scenario.compiled import Compiled
    from energymarket.transport.store import SlotRow

INERTIA = "inertia"


class Prices:
    """Hears slots in order: the price of each follows from the one before."""

    def __init__(self, findings: Findings, compiled: Compiled | None) -> None:
        self._findings = findings
        self._compiled = compiled
        self._previous: int | None = None if compiled is None else compiled.price.initial_ueur_per_kwh
        self._gamma: float | None = None if compiled is None else compiled.price.gamma
        self._limits: tuple[Any, Any] = (None, None)
        self._flows: tuple[int, int] | None = (0, 0)  # consumed, produced in the slot before; None: unknown
        self._models: tuple[PriceModel, ...] = () if compiled is None else (compiled.price,)
        self._may_be_reloaded = True  # coefficients; a live market does not tell
        self.reloaded_from: int | None = None  # since when they are not known

    def know_reload(self, text: str | None) -> None:
        """What the ledger's file says of reloaded coefficients: JSON of the last ones, or None if never."""
        self._may_be_reloaded = text is not None
        if text is None or self._compiled is None:
            return
        try:
            found = json.loads(text)
            factors = tuple(Factor(**each) for each in found.pop("factors"))
            events = tuple(EventKind(**each) for each in found.pop("events"))
            self._models += (PriceModel(**found, factors=factors, events=events),)
        except (ValueError, TypeError, KeyError, AttributeError):
            self._findings.add(Kind.STATE_DIFFERS, "reloaded coefficients cannot be read")

    def pass_over(self, row: SlotRow, notes: Notes | None) -> None:
        """A slot without detail: only its price and its flows are known."""
        self._previous = row.price_ueur_per_kwh
        self._note_flows(notes)

    def check(self, slot: Opened) -> None:
        """One slot."""
        self._check_sum(slot)
        self._check_chain(slot)
        self._check_limits(slot)
        if self._compiled is not None:
            self._check_tariff(slot, self._compiled)
            if self._is_by_scenario(slot):
                self._check_model(slot, self._compiled)
        self._previous = slot.head.price_ueur_per_kwh
        self._note_flows(slot.notes)

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
        # A reload within the slot: its price was still made with the gamma before.
        possible = {
            round(each * head.previous_ueur_per_kwh) for each in (gamma, self._gamma) if each is not None
        }
        inertia = head.terms[0][1]
        if inertia not in possible:
            expected = round(gamma * head.previous_ueur_per_kwh)
            self._same(slot, "not gamma times the price before", expected, INERTIA, inertia)
        self._gamma = gamma

    def _is_by_scenario(self, slot: Opened) -> bool:
        """Whether the coefficients are the scenario's, or those that were reloaded last."""
        for name in ("gamma", "floor_ueur_per_kwh", "cap_ueur_per_kwh"):
            known = [getattr(model, name) for model in self._models]
            found = slot.notes.meta.get(name)
            if found in known or self.reloaded_from is not None:
                continue
            if self._may_be_reloaded:
                self.reloaded_from = slot.slot
            else:
                self._same(slot, "not the scenario's coefficient", repr(known[0]), name, repr(found))
        return self.reloaded_from is None

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

    def _check_limits(self, slot: Opened) -> None:
        """The published price is the sum of the terms, within floor and cap; both stand in the row."""
        head, meta = slot.head, slot.notes.meta
        limits = (meta.get("floor_ueur_per_kwh"), meta.get("cap_ueur_per_kwh"))
        possible = []
        for floor, cap in (limits, self._limits):  # a reload within the slot: as with gamma
            if isinstance(floor, int) and isinstance(cap, int):
                possible.append(min(max(head.unclipped_ueur_per_kwh, floor), cap))
        self._limits = limits
        if head.price_ueur_per_kwh not in possible:
            expected = possible[0] if possible else "floor and cap in the row"
            text = "not the sum of the terms, within floor and cap"
            self._same(slot, text, expected, "price_ueur_per_kwh", head.price_ueur_per_kwh)

    def _check_model(self, slot: Opened, compiled: Compiled) -> None:
        """Every term that can be computed without having been there."""
        head, model = slot.head, self._models[0]
        names = [INERTIA, *(factor.name for factor in model.factors), *(name for name, _ in head.events)]
        shown = [name for name, _ in head.terms]
        self._same(slot, "the terms are of other causes", " ".join(names), "terms", " ".join(shown))
        if shown != names:
            return
        factors = {factor.name: _value(factor, slot, compiled, self._flows) for factor in model.factors}
        for number, (name, found) in enumerate(head.terms[1:]):
            possible = [_term(number, name, each, factors, dict(head.events)) for each in self._models]
            if possible[0] is not None and found not in possible:
                self._same(slot, "not coefficient times cause", possible[0], name, found)


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
