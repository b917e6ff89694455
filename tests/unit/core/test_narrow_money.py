"""Money of narrow energies is what a pencil makes of them, one by one, whatever width the product needs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.units import money_ueur, narrow_money_ueur

EDGE_WH = 10_737
"""2**31 / 200,000 = 10,737.4: 32 bits do not hold the product of more Wh than these and 200,000 µ€/kWh."""


@given(
    st.sampled_from([np.int8, np.int16, np.int32, np.int64]),
    st.sampled_from([0, 1, 200_000, -200_000, 2**31, -(2**31) - 1]) | st.integers(-(10**8), 10**8),
    st.lists(st.integers(0, 127) | st.integers(EDGE_WH - 3, EDGE_WH + 1) | st.integers(0, 10**7), max_size=5),
)
def test_money_is_rounded_half_up_in_any_width(
    kind: type[np.signedinteger], price: int, energies: list[int]
) -> None:
    """At the edge of 32 bits, at prices of either sign and beyond 32 bits, and of no energies at all."""
    fitting = [energy for energy in energies if energy <= np.iinfo(kind).max]
    found = narrow_money_ueur(np.array(fitting, kind), price)
    assert found.tolist() == [money_ueur(energy, price) for energy in fitting]
    assert money_ueur(5, 100) == 1  # 0.5 µ€ goes up
    assert money_ueur(5, -100) == 0  # and so does -0.5


def test_the_usual_slot_is_worked_out_in_32_bits() -> None:
    """Else nothing is gained; at 200,000 µ€/kWh the first energy too large for it is one of 10,737 Wh."""
    assert narrow_money_ueur(np.array([1, EDGE_WH - 1], np.int16), 200_000).dtype == np.int32
    assert narrow_money_ueur(np.array([1, EDGE_WH + 1], np.int16), 200_000).dtype == np.int64
