"""What a sharing rule is told of one slot or of many, and what it answers: arrays by home."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from energymarket.core.records import Policy
from energymarket.core.units import I64

Energy: TypeAlias = npt.NDArray[Any]
"""Whole Wh by home: int64, or doubles where all products stay exact (a comparison of many slots)."""

_SELL = int(Policy.SELL)


@dataclass(frozen=True, slots=True)
class Flows:
    """Energy that homes have over or lack, of shape (..., N): the last axis goes by home, home 1 first."""

    surplus_wh: Energy
    need_wh: Energy
    policies: I64  # (N,)
    weights: I64  # (N,): a member's part of the static key, any whole numbers

    def offered_wh(self) -> Energy:
        """What homes would give away: the surplus of policies 1 and 3."""
        offered: Energy = self.surplus_wh * (self.policies != _SELL)
        return offered


@dataclass(frozen=True, slots=True)
class Shares:
    """What a rule makes of it, each of the shape of the flows. What is in none of them is the grid's.

    Gifts cost nothing; what is sold and bought has the price between members. Both sums agree.
    """

    given_wh: Energy
    received_wh: Energy
    sold_wh: Energy
    bought_wh: Energy

    @classmethod
    def gifts(cls, given_wh: Energy, received_wh: Energy) -> Shares:
        """Gifts only: what is sold and bought afterwards goes by each home's policy."""
        none = np.zeros_like(given_wh)
        return cls(given_wh, received_wh, none, none)

    @classmethod
    def allocation(cls, sold_wh: Energy, bought_wh: Energy) -> Shares:
        """Trade within the community only."""
        none = np.zeros_like(sold_wh)
        return cls(none, none, sold_wh, bought_wh)


def total(column: Energy) -> Energy:
    """The sum over homes, with an axis of one left in their place."""
    summed: Energy = column.sum(axis=-1, keepdims=True)
    return summed
