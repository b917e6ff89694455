"""The linear price: its terms, each a whole number of µ€/kWh, and what is left of past events in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from energymarket.core.stability import Stability, factor_value, stability, steepest_slope
from energymarket.core.units import whole_ueur

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from energymarket.core.parameters import PriceModel

__all__ = [
    "CLIPPING",
    "INERTIA",
    "PERMILLE",
    "Stability",
    "Terms",
    "follow",
    "rests",
    "stability",
    "steepest_slope",
    "terms",
]

INERTIA: Final = "inertia"
CLIPPING: Final = "clipping"
PERMILLE: Final = 1000  # an event of intensity 1


@dataclass(frozen=True, slots=True)
class Terms:
    """A price and where it comes from: items sum to unclipped; published is within floor and cap."""

    items: tuple[tuple[str, int], ...]  # (name, µ€/kWh): inertia, then factors, then active events
    unclipped_ueur_per_kwh: int
    published_ueur_per_kwh: int


def terms(
    model: PriceModel,
    previous_ueur_per_kwh: int,
    temperature_mc: int,
    consumed_wh: int,
    produced_wh: int,
    events: Iterable[tuple[int, int]],
    import_ueur_per_kwh: int = 0,
    export_ueur_per_kwh: int = 0,
) -> Terms:
    """P_t = gamma P_{t-1} + sum alpha_i f_i + sum beta_j intensity_j (statement of the assignment).

    events are (index of the kind, intensity in permille), each kind once. Each term is rounded half
    even on its own, so the terms shown add up to the price, and an event changes it by exactly
    beta times intensity where that is a whole number of µ€/kWh.
    """
    items = [(INERTIA, int(whole_ueur(model.gamma * previous_ueur_per_kwh)))]
    for factor in model.factors:
        value = factor_value(
            factor, temperature_mc, consumed_wh, produced_wh, import_ueur_per_kwh, export_ueur_per_kwh
        )
        items.append((factor.name, int(whole_ueur(factor.alpha_ueur_per_kwh * value))))
    for index, intensity_permille in events:
        kind = model.events[index]
        items.append((kind.name, int(whole_ueur(kind.beta_ueur_per_kwh * intensity_permille / PERMILLE))))
    unclipped = sum(value for _, value in items)
    published = min(max(unclipped, model.floor_ueur_per_kwh), model.cap_ueur_per_kwh)
    return Terms(tuple(items), unclipped, published)


def follow(model: PriceModel, contributions: Sequence[float], price: Terms) -> tuple[float, ...]:
    """What is in a published price from each kind of event, and from clipping (last).

    contributions are those of the price before, one per kind and one for clipping; () stands for
    none. By c_t = gamma c_{t-1} + beta u intensity, which holds because the price is linear;
    clipping at floor or cap is a term like another, of the size that was cut.
    """
    kept = list(contributions) or [0.0] * (len(model.events) + 1)
    kinds, fresh = len(model.events), dict(price.items[1 + len(model.factors) :])
    kept[:kinds] = [model.gamma * part + 0 for part in kept[:kinds]]  # + 0: what fades away is no -0.0
    if fresh:
        kept[:kinds] = [
            part + fresh.get(kind.name, 0) for part, kind in zip(kept, model.events, strict=False)
        ]
    kept[-1] = model.gamma * kept[-1] + price.published_ueur_per_kwh - price.unclipped_ueur_per_kwh
    return tuple(kept)


def rests(model: PriceModel, contributions: Sequence[float]) -> tuple[tuple[str, int], ...]:
    """What of the next inertia is the rest of past events (and of past clipping), in µ€/kWh.

    Information beside the terms: these are parts of the term `inertia`, not terms of the sum.
    """
    names = [*(kind.name for kind in model.events), CLIPPING]
    parts = (
        (name, int(whole_ueur(model.gamma * part))) for name, part in zip(names, contributions, strict=False)
    )
    return tuple((name, part) for name, part in parts if part)
