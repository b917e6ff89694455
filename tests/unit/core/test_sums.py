"""The sum of a narrow column is that of its numbers, however narrow it is and however they stand."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from energymarket.core.chance import Purpose, draw_u32
from energymarket.core.sums import bounds, total


@given(
    st.sampled_from([np.int8, np.int16, np.int32, np.int64]),
    st.integers(1, 40_000),
    st.integers(0, 2**32),
    st.data(),
)
def test_a_sum_is_exact_in_any_width(
    kind: type[np.signedinteger], rows: int, seed: int, data: st.DataObject
) -> None:
    """Small values and those at the edge of their width, in lengths that no block and no lane divides."""
    edge = min(int(np.iinfo(kind).max), 2**40)  # beyond it a column of 64 bits has no sum
    top = data.draw(st.sampled_from([0, 1, edge // 8, edge // 8 + 1, edge]))
    noise = draw_u32(seed, Purpose.HOME, 1, np.arange(rows, dtype=np.uint32)).astype(np.int64)
    drawn = noise % (2 * top + 1) - top
    assert total(drawn.astype(kind)) == sum(drawn.tolist())
    assert total(np.full(rows, top, kind)) == top * rows
    assert bounds(drawn.astype(kind)) == (min(0, *drawn.tolist()), max(0, *drawn.tolist()))
    assert bounds(abs(drawn).astype(kind)) == (0, max(abs(drawn).tolist()))
