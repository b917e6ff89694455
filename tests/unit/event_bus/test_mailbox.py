"""The mailbox: order of arrival, by hand and against a plain list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from event_bus.protocol.mailbox import Envelope, Mailbox

ENVELOPES = st.builds(
    Envelope,
    life=st.integers(1, 3),
    number=st.integers(0, 2),
    type=st.sampled_from("ab"),
    stamp=st.integers(0, 9),
    call=st.integers(0, 1),
    payload=st.binary(max_size=2),
)


def test_who_waits_for_an_answer_is_not_in_what_process_gets() -> None:
    """Such a message is for the call that receives it."""
    asked, said = Envelope(1, 0, "t", 1, 7, b""), Envelope(1, 0, "t", 2, 0, b"")
    mailbox = Mailbox()
    mailbox.put(asked)
    assert len(mailbox) == 0
    mailbox.put(said)
    assert mailbox.pick(lambda envelope: envelope.call == 7) is None
    assert mailbox.take_all() == [said]
    assert mailbox.pick_rendezvous(lambda _: True) is asked
    assert mailbox.pick_rendezvous(lambda _: True) is None


@given(st.lists(st.one_of(ENVELOPES, st.tuples(st.sampled_from(("pick", "call", "all")), st.integers(1, 3)))))
def test_picking_takes_the_oldest_that_is_wanted(steps: list[Envelope | tuple[str, int]]) -> None:
    """Whatever is picked between, the rest keeps its order, and nothing is lost or doubled."""
    mailbox, said, asked = Mailbox(), list[Envelope](), list[Envelope]()
    for step in steps:
        if isinstance(step, Envelope):
            mailbox.put(step)
            (asked if step.call else said).append(step)
            continue
        what, life = step
        if what == "all":
            assert mailbox.take_all() == said
            said.clear()
            continue
        kept, pick = (said, mailbox.pick) if what == "pick" else (asked, mailbox.pick_rendezvous)
        wanted = next((each for each in kept if each.life == life), None)
        assert pick(lambda each, life=life: each.life == life) is wanted  # type: ignore[misc]
        if wanted is not None:
            kept[:] = [each for each in kept if each is not wanted]
        assert len(mailbox) == len(said)
