"""The tally: the same however slots are cut, packed or typed; refuses what it cannot add up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energymarket.core.kpi.document import document
from energymarket.core.kpi.home_sums import COUNTED, METERED
from energymarket.core.kpi.tally import Carbon, Frame, Tally
from energymarket.core.passage import Passage
from tests.unit.core.kpi.made_passages import by_chance, cut, passage

SLOTS, HOMES = 40, 7
FRAME = Frame(HOMES, 900, 10_000, 0, 300_000)


def intensity(of: Passage) -> Carbon:
    """A number of each slot."""
    slots = np.arange(of.first_slot, of.first_slot + of.slots)
    return Carbon(slots * 997 % 800_000, slots * 1_009 % 900_000)


def heard(passages: list[Passage], *, through_bytes: bool = False) -> Tally:
    """A tally of these, packed and unpacked between any two."""
    tally = Tally(FRAME)
    for each in passages:
        tally.add(each, intensity(each))
        if through_bytes:
            tally = Tally.unpack(tally.pack())
    return tally


@given(
    seed=st.integers(0, 1 << 32),
    places=st.lists(st.integers(0, SLOTS), max_size=6),
    through_bytes=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_no_cut_and_no_interruption_changes_a_number(
    seed: int, places: list[int], through_bytes: bool
) -> None:
    """Whole, or cut anywhere and resumed from bytes after every piece: the same bytes, the same document."""
    whole = by_chance(seed, SLOTS, HOMES)
    once, often = heard([whole]), heard(cut(whole, places), through_bytes=through_bytes)
    assert often.pack() == once.pack()
    assert document(often) == document(once)


@given(seed=st.integers(0, 1 << 32), kind=st.sampled_from([np.int16, np.int32]))
@settings(max_examples=20, deadline=None)
def test_narrow_columns_add_up_to_the_same(seed: int, kind: type[np.signedinteger[Any]]) -> None:
    """int16 or int32 instead of int64: money apart, which needs its room."""
    wide = by_chance(seed, SLOTS, HOMES)
    columns = {
        name: column if name == "money_ueur" else column.astype(kind) for name, column in wide.columns.items()
    }
    prices = (wide.price_ueur_per_kwh, wide.import_ueur_per_kwh, wide.export_ueur_per_kwh)
    assert heard([Passage(wide.first_slot, *prices, columns)]).pack() == heard([wide]).pack()


def test_every_sum_is_that_of_plain_python() -> None:
    """Slot by slot and home by home, in whole numbers, by the definitions of settlement."""
    whole = by_chance(3, SLOTS, HOMES)
    tally = heard([whole])
    rows = {name: column.tolist() for name, column in whole.columns.items()}
    p, r, e = (
        each.tolist()
        for each in (whole.price_ueur_per_kwh, whole.import_ueur_per_kwh, whole.export_ueur_per_kwh)
    )
    average = intensity(whole).given(SLOTS)["average_ug"].tolist()
    for home in range(HOMES):
        at = {name: [row[home] for row in column] for name, column in rows.items()}
        imbalance = [
            at["exported_wh"][k] - at["imported_wh"][k] - at["given_wh"][k] - at["expired_wh"][k]
            + at["received_wh"][k] - at["sold_wh"][k] + at["bought_wh"][k]
            for k in range(SLOTS)
        ]  # fmt: skip
        expected = {
            "short_wh": sum(-each for each in imbalance if each < 0),
            "long_wh": sum(each for each in imbalance if each > 0),
            "peak_import_wh": max(at["imported_wh"]),
            "peak_export_wh": max(at["exported_wh"]),
            "purchases_mueur": sum(x * y for x, y in zip(at["bought_wh"], p, strict=True)),
            "sales_mueur": sum(x * y for x, y in zip(at["sold_wh"], p, strict=True)),
            "alone_mueur": sum(
                at["imported_wh"][k] * r[k] - at["exported_wh"][k] * e[k] for k in range(SLOTS)
            ),
            "imbalance_mueur": sum(-each * (r[k] if each < 0 else e[k]) for k, each in enumerate(imbalance)),
            "average_ug": sum(x * y for x, y in zip(at["imported_wh"], average, strict=True)),
        }
        assert {name: int(tally.detail.columns[name][home]) for name in expected} == expected
        for name in ("produced_wh", "given_wh", "money_ueur"):
            assert int(tally.detail.columns[name][home]) == sum(at[name])


def test_more_homes_than_a_block_are_all_there() -> None:
    """Homes beyond the first block, and a last block that is not full."""
    homes = 40_000
    energy = np.arange(2 * homes).reshape(2, homes)
    tally = Tally(Frame(homes, 900))
    tally.add(passage(0, [1, 2], 3, 1, {"imported_wh": energy, "bought_wh": energy}))
    assert tally.of("imported_wh").tolist() == energy.sum(axis=0).tolist()
    assert tally.detail.columns["purchases_mueur"].tolist() == (energy[0] + 2 * energy[1]).tolist()
    assert tally.community.line_import_wh == energy.sum()


def test_sums_of_large_meters_do_not_wrap() -> None:
    """A passage of int32 whose sums do not fit int32."""
    energy = np.full((64, 3), 2_000_000_000, np.int32)
    tally = Tally(Frame(3, 900))
    tally.add(passage(0, [1] * 64, 1, 0, {"imported_wh": energy}, np.int32))
    assert tally.of("imported_wh").tolist() == [64 * 2_000_000_000] * 3
    assert tally.community.line_import_wh == 3 * 64 * 2_000_000_000
    assert tally.detail.columns["short_wh"].tolist() == [64 * 2_000_000_000] * 3


def test_one_large_column_among_small_ones_does_not_wrap() -> None:
    """int32 that is sold and received without a meter's word: out of balance by what int32 cannot hold."""
    large = np.full((2, 3), 2_000_000_000, np.int32)
    columns = {"imported_wh": np.ones((2, 3)), "sold_wh": large, "given_wh": large}
    tally = Tally(Frame(3, 900))
    tally.add(passage(0, [1, 2], 1, 0, columns, np.int32))
    assert tally.detail.columns["short_wh"].tolist() == [2 * 4_000_000_001] * 3


@given(seed=st.integers(0, 1 << 32), places=st.lists(st.integers(0, SLOTS), max_size=6))
@settings(max_examples=20, deadline=None)
def test_what_meters_have_counted_is_read_not_added(seed: int, places: list[int]) -> None:
    """Registers that say what columns add up to: the same bytes, read once or before each packing."""
    whole = by_chance(seed, SLOTS, HOMES)
    once, often = Tally(FRAME, metered=True), Tally(FRAME, metered=True)
    once.add(whole, intensity(whole))
    counted = {register: np.zeros(HOMES, np.int64) for register in METERED.values()}
    for each in cut(whole, places):
        often.add(each, intensity(each))
        for name, register in METERED.items():
            counted[register] += each.columns[name].sum(axis=0)
        often.read(counted)
        often = Tally.unpack(often.pack(), metered=True)
    once.read(counted)
    assert once.pack() == often.pack() == heard([whole]).pack()


def test_peaks_of_any_size_are_kept() -> None:
    """What 16 bits hold, what wants 32, what wants 64, and less again: of columns that are no wider."""
    tally, peaks = Tally(Frame(1, 900)), []
    sizes: list[tuple[int, type[np.signedinteger[Any]]]] = [
        (32_767, np.int16),
        (32_768, np.int32),
        (2**31, np.int64),
        (5, np.int16),
    ]
    for slot, (peak, kind) in enumerate(sizes):
        tally.add(passage(slot, [0], 0, 0, {"imported_wh": [[peak]], "exported_wh": [[peak]]}, kind))
        tally = Tally.unpack(tally.pack())
        peaks.append([int(tally.detail.columns[name][0]) for name in ("peak_import_wh", "peak_export_wh")])
    assert peaks == [[32_767] * 2, [32_768] * 2, [2**31] * 2, [2**31] * 2]


def test_the_first_of_equal_peaks_is_told() -> None:
    """Slots 1, 2 and, in another passage, 3 draw the same: slot 1; and so for exports."""
    tally = Tally(Frame(1, 900))
    tally.add(passage(0, [0] * 3, 0, 0, {"imported_wh": [[5], [9], [9]]}))
    tally.add(passage(3, [0] * 3, 0, 0, {"imported_wh": [[9], [0], [0]], "exported_wh": [[0], [7], [7]]}))
    tally.add(passage(6, [0], 0, 0, {"exported_wh": [[7]], "imported_wh": [[0]]}))
    assert (tally.community.peak_line_import_slot, tally.community.peak_line_export_slot) == (1, 4)


def test_a_product_that_would_wrap_to_nothing_is_refused() -> None:
    """2^46 Wh at 2^18 µ€/kWh are 2^64, which in 64 bits is 0; with prices that differ, too."""
    huge = np.full((2, 1), 1 << 45)
    for prices in ([1 << 18, 1 << 18], [1 << 18, (1 << 18) - 1]):
        with pytest.raises(OverflowError, match="63 bits"):
            Tally(Frame(1, 900)).add(passage(0, prices, 0, 0, {"bought_wh": huge, "imported_wh": huge}))


def test_what_does_not_fit_63_bits_is_refused() -> None:
    """Energy that the ledger could never hold: an error with a name instead of a wrong sum."""
    tally = heard([by_chance(1, 4, HOMES)])
    large = np.full((1, HOMES), 1 << 60)
    for slot in (2_000, 2_001, 2_002):
        tally.add(passage(slot, [0], 0, 0, {"imported_wh": large, "bought_wh": large}))
    with pytest.raises(OverflowError, match="imported_wh of a home is beyond what 63 bits hold"):
        tally.add(passage(2_003, [0], 0, 0, {"imported_wh": large, "bought_wh": large}))


def test_slots_that_have_been_heard_are_refused() -> None:
    """A passage that begins before the last slot's end would be counted twice."""
    tally = heard([by_chance(1, 4, HOMES)])
    with pytest.raises(ValueError, match="slot 1003 comes after slot 1003"):
        tally.add(passage(1_003, [0], 0, 0, {"imported_wh": np.zeros((1, HOMES))}))


def test_another_number_of_homes_is_refused() -> None:
    """Rows would be added to the wrong homes."""
    with pytest.raises(ValueError, match="of 3 homes, not of 7"):
        Tally(FRAME).add(passage(0, [0], 0, 0, {"imported_wh": [[1, 2, 3]]}))


def test_intensities_of_other_slots_are_refused() -> None:
    """One intensity per slot of the passage, no fewer."""
    with pytest.raises(ValueError, match="not those of 4 slots"):
        Tally(FRAME).add(by_chance(1, 4, HOMES), Carbon(np.array([1, 2, 3])))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:0],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"XXXX" + data[4:],
        lambda data: data.replace(b'"slot_s"', b'"slot_x"'),
        lambda data: data.replace(b'"homes":7', b'"homes":8'),
        lambda data: data.replace(b'"produced_wh":', b'"produced_xx":'),
        lambda data: data.replace(b'"produced_wh":4', b'"produced_wh":2'),
        lambda data: data[:12] + b"{" + data[13:20],
    ],
)
def test_bytes_that_pack_never_made_are_refused(spoil: Any) -> None:
    """Cut off, longer, of another kind or with other columns: ValueError, and no tally."""
    with pytest.raises(ValueError):
        Tally.unpack(spoil(heard([by_chance(1, 4, HOMES)]).pack()))


def test_memory_is_a_few_dozen_numbers_per_home() -> None:
    """However many slots: packed, 20 columns of 8 bytes a home, and less than 2 KiB beside them."""
    tally = heard(cut(by_chance(5, 2_000, HOMES), range(100, 2_000, 100)))
    assert len(tally.pack()) < 8 * (len(COUNTED) + 2) * HOMES + 2_048
    assert len(COUNTED) + 2 <= 24
