"""The report as a worker answers it: over a market's socket, of a period or a home, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from energymarket.requests.kind import Abandoned, Context, Moment, Refused
from energymarket.requests.report import REQUEST
from energymarket.transport.call import Call
from energymarket.wire.messages import CONTROL
from tests.ipc.test_audit_live import Desk
from tests.simulation.small_market import KEPT_SLOTS, SmallMarket

SLOTS = KEPT_SLOTS + 80


class ReportDesk(Desk):
    """The same desk, which also tells of the present."""

    def _answer(self, call: Call, market: SmallMarket) -> None:
        if call.method != f"{CONTROL}.Present":
            super()._answer(call, market)
            return
        compiled = market.compiled
        call.reply(
            {
                "first_slot": market.store.first_slot(),
                "slot": market.slot,
                "scenario_hash": compiled.hash,
                "scenario": str(compiled.directory),
                "state": str(market.directory),
            }
        )


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ReportDesk, Path]]:
    """Some days of the four homes, of which the oldest has been compacted."""
    place = tmp_path_factory.mktemp("m")
    market = SmallMarket(place)
    market.play(SLOTS)
    market.compact()
    run_dir = place / "run"
    run_dir.mkdir()
    with ReportDesk(run_dir, market) as served:
        yield served, run_dir
    market.close()


def asked(run_dir: Path, question: dict[str, object], told: list[tuple[float, str]] | None = None) -> Any:
    def progress(share: float, doing: str) -> None:
        if told is not None:
            told.append((share, doing))

    context = Context(progress, run_dir, lambda: Moment(0.0, 0, 900))
    return cast("Any", REQUEST.answer(question, context))


def test_the_last_slots_are_those_of_the_pencil(desk: tuple[ReportDesk, Path]) -> None:
    """In each slot 800 Wh are produced and 750 used, 600 offered, 550 lacked: the battery is empty by now."""
    market, run_dir = desk[0].market, desk[1]
    found = asked(run_dir, {"last": "4"})
    assert found["period"]["slots"] == 4
    assert (found["period"]["first_slot"], found["period"]["last_slot"]) == (market.slot - 3, market.slot)
    assert found["energy"]["produced_kwh"] == pytest.approx(4 * 0.8)
    assert found["energy"]["consumed_kwh"] == pytest.approx(4 * 0.75)
    assert found["energy"]["received_kwh"] == pytest.approx(4 * 0.55)
    assert found["energy"]["line_export_kwh"] == pytest.approx(4 * 0.05)
    assert "home_table" not in found["kpi"]
    assert any("3.200 kWh" in line for line in found["words"])


def test_a_home_is_told_by_itself(desk: tuple[ReportDesk, Path]) -> None:
    """Home 2 uses 300 Wh a slot and gets all of it as gifts, at a fee of 0.01 €/kWh."""
    found = asked(desk[1], {"last": "10", "home": 2})
    assert found["type"] == "report_home"
    assert (found["home"], found["consumed_kwh"], found["received_kwh"]) == (2, 3.0, 3.0)
    assert found["imported_kwh"] == 3.0
    assert found["bill_eur"] == pytest.approx(0.03)
    assert found["fees_eur"] == pytest.approx(0.03)


def test_shares_are_told_of_homes_that_own_no_battery(desk: tuple[ReportDesk, Path]) -> None:
    """Home 1 uses 100 of its 500 Wh: a fifth, though no register is of this period; home 4 has a battery."""
    found = asked(desk[1], {"last": "10", "home": 1})
    assert (found["self_consumption"], found["self_sufficiency"]) == (0.2, 1.0)
    assert found["self_consumption_as_metered"] == 0.2
    assert asked(desk[1], {"last": "10", "home": 4})["self_sufficiency"] is None
    assert any("registers of 1 homes" in note for note in found["kpi"]["notes"])


def test_a_period_is_named_by_slots_days_or_times(desk: tuple[ReportDesk, Path]) -> None:
    """All three ways name the same slots; a day named as the end is taken in whole."""
    market, run_dir = desk[0].market, desk[1]
    first = market.slot - 40
    begins, ends = (datetime.fromtimestamp(slot * 900, tz=UTC) for slot in (first, market.slot - 9))
    by_slot = asked(run_dir, {"from": first, "to": market.slot - 10})
    by_time = asked(
        run_dir, {"from": begins.isoformat(), "to": ends.replace(tzinfo=None).isoformat(timespec="minutes")}
    )
    assert by_slot == by_time
    assert by_slot["period"]["slots"] == 31
    day = datetime.fromtimestamp(market.slot * 900, tz=UTC)
    of_day = asked(run_dir, {"from": f"{day:%Y-%m-%d}", "to": f"{day:%Y-%m-%d}"})
    assert of_day["period"]["last_slot"] == market.slot
    assert of_day["period"]["slots"] == (day.hour * 4 + day.minute // 15) + 1


def test_a_compacted_day_is_taken_in_whole_and_the_answer_says_so(desk: tuple[ReportDesk, Path]) -> None:
    """Sums over a day cannot be cut: a period that begins within it grows, and sums stay right."""
    market, run_dir = desk[0].market, desk[1]
    stretch = market.store.stretches()[0]
    found = asked(run_dir, {"from": stretch[0] + 1})
    assert found["period"]["first_slot"] == stretch[0]
    assert found["period"]["slots"] == market.slot - stretch[0] + 1
    assert found["energy"]["consumed_kwh"] == pytest.approx(0.75 * found["period"]["slots"], abs=1e-9)
    assert any("cannot be cut" in note for note in found["kpi"]["notes"])


@pytest.mark.parametrize(
    ("question", "what"),
    [
        ({"last": "soon"}, "'last'"),
        ({"last": "7d", "from": 3}, "twice"),
        ({"from": 10, "to": 9}, "no slot"),
        ({"to": 100}, "nothing is known"),
        ({"from": "yesterday"}, "'from'"),
        ({"from": [1]}, "'from'"),
        ({"home": 5}, "'home'"),
        ({"home": True}, "'home'"),
        ({"hoem": 1}, "'hoem'"),
    ],
)
def test_an_impossible_question_is_refused_by_name(
    desk: tuple[ReportDesk, Path], question: dict[str, object], what: str
) -> None:
    """What, why and what to do: none of them empty."""
    with pytest.raises(Refused) as refused:
        asked(desk[1], question)
    assert what in refused.value.what
    assert refused.value.why
    assert refused.value.do


def test_without_a_market_the_answer_says_that_there_is_none(tmp_path: Path) -> None:
    """No socket: refused, not a trace."""
    with pytest.raises(Refused, match="market"):
        asked(tmp_path, {})


def test_an_abandoned_report_ends_at_once(desk: tuple[ReportDesk, Path]) -> None:
    """The client has gone: no further slot is asked for."""
    looks, told = desk[0].looks, []

    def progress(share: float, doing: str) -> None:
        told.append((share, doing))
        if doing.startswith("reading"):
            raise Abandoned

    with pytest.raises(Abandoned):
        REQUEST.answer({}, Context(progress, desk[1], lambda: Moment(0.0, 0, 900)))
    assert desk[0].looks == looks + 1
