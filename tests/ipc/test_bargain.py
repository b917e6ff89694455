"""The live exchange over a real queue, hold by hold: lives that end, gifts given back, a frozen holder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from energymarket.core import parties
from energymarket.core.parameters import Excess, Sharing, Take, Turn
from energymarket.core.parties import Parties
from energymarket.core.records import OFFER, Policy
from energymarket.home import bargain
from energymarket.home.bargain import Exchange
from energymarket.runtime.clock import boottime_ns
from energymarket.runtime.service import StopFlag
from energymarket.transport import resources
from energymarket.transport.queue import OfferQueue
from energymarket.transport.resources import Ipc
from energymarket.wire import offer_message

pytestmark = pytest.mark.usefixtures("no_ipc_left")

EXACT = Sharing(Take.EXACT, Turn.SELFISH, Excess.NEUTRAL)
NEUTRAL = Sharing(Take.GREEDY, Turn.SELFISH, Excess.NEUTRAL)
HOMES, SLOT = 10, 7
MS = 1_000_000


@pytest.fixture
def ipc(run_dir: Path) -> Iterator[Ipc]:
    """The run's objects."""
    yield resources.ensure(run_dir)
    resources.remove(run_dir)


def party(
    ipc: Ipc,
    sharing: Sharing = EXACT,
    *,
    offers: dict[int, int] | None = None,
    needs: dict[int, int] | None = None,
    ends_ms: int = 10_000,
) -> Exchange:
    """A range of homes in the exchange: what they offer and what they need, in Wh by home."""
    net_wh = np.zeros(HOMES, np.int16)
    for home, energy_wh in (offers or {}).items():
        net_wh[home - 1] = energy_wh
    for home, energy_wh in (needs or {}).items():
        net_wh[home - 1] = -energy_wh
    policies = np.full(HOMES, int(Policy.GIVE), np.uint8)
    now = boottime_ns()
    return Exchange(
        queue=OfferQueue(ipc),
        sharing=sharing,
        slot=SLOT,
        epoch=0,
        deadline_ns=now + ends_ms * MS,
        gate_ns=now + 2 * ends_ms * MS,
        homes=HOMES,
        parties=Parties(net_wh, policies, 1, (0, HOMES)),
        stop=StopFlag(),
        beat=lambda: None,
    )


def claims_of(exchange: Exchange) -> list[tuple[int, int, int]]:
    """(giver, index, energy) of every claim."""
    return [(int(c["giver"]), int(c["index"]), int(c["energy_wh"])) for c in all_claims(exchange)]


def all_claims(exchange: Exchange) -> list[np.void]:
    """Every claim, in the order of taking."""
    return [claim for piece in exchange.result.claims for claim in piece]


def returned_to(exchange: Exchange) -> list[tuple[int, int]]:
    """(giver, energy) of all that came back, or never left."""
    open_wh = exchange.parties.open_wh
    return [(int(at) + 1, int(open_wh[at])) for at in np.flatnonzero(open_wh > 0)]


def test_what_a_giver_offers_again_in_its_second_life_is_not_claimed_twice(ipc: Ipc) -> None:
    """A taker that has claimed part 0 of an offer leaves the same part alone: its batch stays a good one."""
    taker = party(ipc, needs={2: 400})
    party(ipc, offers={1: 300})._turn(0.5)
    taker._turn(0.5)
    second_life = party(ipc, offers={1: 300})
    second_life._forget_earlier_life()
    second_life._turn(0.5)
    taker._turn(0.5)
    assert claims_of(taker) == [(1, 0, 300)]


def test_a_second_life_removes_what_the_first_has_put(ipc: Ipc) -> None:
    """Before it puts anything; so a taker finds each offer once. What others have put stays."""
    party(ipc, offers={1: 300})._turn(0.5)
    party(ipc, offers={3: 50})._turn(0.5)
    second_life = party(ipc, offers={1: 300})
    second_life._forget_earlier_life()
    assert OfferQueue(ipc).depth()[0] == 1
    second_life._turn(0.5)
    taker = party(ipc, needs={2: 1000})
    taker._turn(0.5)
    assert claims_of(taker) == [(3, 0, 50), (1, 0, 300)]


def test_a_neutral_rest_goes_back_to_its_giver_and_to_nobody_else(ipc: Ipc) -> None:
    """500 offered, 300 needed: another taker finds nothing, the giver has 200 back."""
    giver, taker = party(ipc, NEUTRAL, offers={1: 500}), party(ipc, NEUTRAL, needs={2: 300})
    other = party(ipc, NEUTRAL, needs={3: 100})
    giver._turn(0.5)
    taker._turn(0.5)
    assert other._turn(0.5) is False
    assert OfferQueue(ipc).depth()[0] == 1
    giver._take_back()
    assert claims_of(taker) == [(1, 0, 300)]
    assert claims_of(other) == []
    assert returned_to(giver) == [(1, 200)]
    assert OfferQueue(ipc).depth() == (0, 0)


def test_what_was_given_back_does_not_hide_what_is_on_offer_behind_it(ipc: Ipc) -> None:
    """A rest that lies in front is stepped over, and still comes back to its giver."""
    giver, taker = party(ipc, NEUTRAL, offers={1: 500}), party(ipc, NEUTRAL, needs={2: 300})
    giver._turn(0.5)
    taker._turn(0.5)
    party(ipc, NEUTRAL, offers={4: 100})._turn(0.5)
    other = party(ipc, NEUTRAL, needs={3: 100})
    assert other._turn(0.5) is True
    giver._take_back()
    assert claims_of(other) == [(4, 0, 100)]
    assert returned_to(giver) == [(1, 200)]


def test_an_offer_of_a_home_that_there_is_not_is_left_out(ipc: Ipc) -> None:
    """A forged giver beyond the scenario's homes is not claimed; the good offer beside it is."""
    queue = OfferQueue(ipc)
    forged = np.array([(4_000_000_000, 100, 0, 0, 0), (5, 70, 0, 0, 0)], OFFER)
    with queue.locked():
        queue.put(1, offer_message.pack(forged, slot=SLOT, epoch=0))
    taker = party(ipc, needs={2: 500})
    taker._turn(0.5)
    assert claims_of(taker) == [(5, 0, 70)]


def test_a_line_of_hundreds_of_offers_goes_back_where_takers_are_greedy(ipc: Ipc) -> None:
    """None of ours puts more than 255 there; a stranger's line is served all the same, and its rest kept."""
    line = np.zeros(300, OFFER)
    line["giver"], line["position"], line["energy_wh"] = np.arange(11, 311), np.arange(10, 310), 70
    queue = OfferQueue(ipc)
    with queue.locked():
        queue.put(11, offer_message.pack(line, slot=SLOT, epoch=0))
    taker = party(ipc, NEUTRAL, needs={2: 100})
    taker.homes = 400
    taker._turn(0.5)
    assert claims_of(taker) == [(11, 0, 70), (12, 0, 30)]
    with queue.locked():
        left = [queue.take(kind) for kind in (11, 11 | bargain.GIVEN_BACK)]
    rest, back = (offer_message.unpack(data)[1] for _, data in filter(None, left))
    assert rest["giver"].tolist() == list(range(13, 311))
    assert back[["giver", "energy_wh"]].tolist() == [(12, 40)]


def test_a_frozen_holder_costs_gifts_but_not_the_batch(ipc: Ipc) -> None:
    """Exchange 60 ms, gate at 120 ms, the semaphore held: back before the gate with all offers in hand."""
    with OfferQueue(ipc).locked():
        exchange = party(ipc, offers={1: 300}, needs={2: 100}, ends_ms=60)
        result = exchange.run()
        assert boottime_ns() < exchange.gate_ns
    assert result.degraded
    assert returned_to(exchange) == [(1, 300)]
    assert result.shed == 1


def test_a_message_serves_the_whole_line_however_much_of_it_is_looked_at(
    ipc: Ipc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten takers in turns of one offer each, seen two at a time: as if all ten had been looked at."""
    fair = Sharing(Take.EXACT, Turn.FAIR, Excess.NEUTRAL)
    found = []
    for seen in (10, 2):
        monkeypatch.setattr(parties, "BLOCK_HOMES", seen)
        taker = party(ipc, fair, needs={home: 10 * home for home in range(1, HOMES + 1)})
        for giver, energy_wh in enumerate((35, 7, 400, 100), 1):
            party(ipc, fair, offers={giver: energy_wh})._turn(0.5)
            taker._turn(0.5)
        found.append([(int(c["taker"]), int(c["energy_wh"])) for c in all_claims(taker)])
        assert int(taker.parties.moved_wh().sum()) == 35 + 7 + 400 + 100
        OfferQueue(ipc).drain()
    assert found[0] == found[1]


def test_more_offers_than_the_queue_passes_on_are_shared_at_home_first(
    ipc: Ipc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own takers have what the ring gives them; what is left goes through the queue, as ever."""
    monkeypatch.setattr(bargain, "AT_HOME_OFFERS", 2)
    large = party(ipc, offers={1: 300, 2: 200, 3: 100}, needs={4: 350, 5: 50}, ends_ms=200)
    stranger = party(ipc, needs={6: 150})
    large._serve_at_home()
    assert claims_of(large) == [(1, 0, 300), (2, 0, 50), (2, 1, 50)]
    large._turn(0.5)
    stranger._turn(0.5)
    assert claims_of(stranger) == [(2, 2, 100), (3, 0, 50)]
    large._take_back()
    assert returned_to(large) == [(3, 50)]
    few = party(ipc, offers={1: 300}, needs={4: 350})
    few._serve_at_home()
    assert claims_of(few) == []


def test_what_was_shared_at_home_is_not_claimed_again_from_an_earlier_life(
    ipc: Ipc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The range died with its offers in the queue; now its own taker has all of them, and lacks still."""
    gives = {1: 300, 2: 200, 3: 100}
    party(ipc, offers=gives)._turn(0.5)
    monkeypatch.setattr(bargain, "AT_HOME_OFFERS", 2)
    second_life = party(ipc, offers=gives, needs={4: 1_000})
    second_life._serve_at_home()
    second_life._turn(0.5)
    assert claims_of(second_life) == [(1, 0, 300), (2, 0, 200), (3, 0, 100)]


FAIR = Sharing(Take.EXACT, Turn.FAIR, Excess.NEUTRAL)


def test_a_long_line_is_served_from_several_messages_in_a_turn(
    ipc: Ipc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One offer or part a taker; what is left of a message goes back under its giver's own type."""
    monkeypatch.setattr(bargain, "IN_LINE", 1)
    for giver, energy_wh in {1: 250, 2: 30, 3: 1000, 4: 40}.items():
        party(ipc, FAIR, offers={giver: energy_wh})._turn(0.5)
    taker = party(ipc, FAIR, needs=dict.fromkeys(range(5, 11), 100))
    assert taker._turn(0.5) is True
    # 5, 6 and 7 share the first giver's, 8 has all of the second's, 9 and 10 are served by the third
    assert claims_of(taker) == [(1, 0, 100), (1, 1, 100), (1, 2, 50), (2, 0, 30), (3, 0, 100), (3, 1, 100)]
    queue = OfferQueue(ipc)
    with queue.locked():
        left = [queue.take(), queue.take(), queue.take()]
    assert [kind for kind, _ in filter(None, left)] == [3, 4]
    offers = [offer_message.unpack(data)[1][0] for _, data in filter(None, left)]
    assert [(int(o["giver"]), int(o["index"]), int(o["energy_wh"])) for o in offers] == [
        (3, 2, 800),
        (4, 0, 40),
    ]


def test_a_giver_that_lies_there_twice_is_not_claimed_twice_in_a_turn(
    ipc: Ipc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both lives of a giver have put the same part: of the second one nothing is taken, now or later."""
    monkeypatch.setattr(bargain, "IN_LINE", 1)
    party(ipc, FAIR, offers={1: 300})._turn(0.5)
    party(ipc, FAIR, offers={1: 300})._turn(0.5)
    taker = party(ipc, FAIR, needs=dict.fromkeys(range(2, 11), 100))
    taker._turn(0.5)
    assert claims_of(taker) == [(1, 0, 100), (1, 1, 100), (1, 2, 100)]
    taker._turn(0.5)
    assert claims_of(taker) == [(1, 0, 100), (1, 1, 100), (1, 2, 100)]
