"""The programs of simulated processes: they wait and give up as `event_bus.communicator` does.

Each thread is a generator that yields what it waits for. What lies between two yields happens under the
process's lock, so nothing comes between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from event_bus.errors import BusError, BusStopped, BusTimeout, MemberLost
from event_bus.protocol import records
from event_bus.protocol.mailbox import Envelope
from event_bus.protocol.member import Member
from tests.simulation.bus.truth import LOCKSTEP, must
from tests.simulation.bus.wiring import Proc, Program, Thread, Wait

if TYPE_CHECKING:
    from tests.simulation.bus.world import World


def main(world: World, proc: Proc) -> Program:
    """A process's life, as `event_bus.shell.life` has it."""
    member = proc.member
    yield None
    if world.chance(world.plan.failures):
        member.reports.append(records.Failed("its constructor has raised"))
        proc.left = True
        return
    member.reports.append(records.Ready())
    yield Wait(lambda: member.joined, "the bus is joined", quiet=True)
    if member.joined and not member.stopping:
        proc.threads.append(Thread("taker", taker(world, proc)))
        if world.chance(0.3):
            proc.threads.append(Thread("aside", aside(world, proc)))
        try:
            yield from (lockstep if world.plan.lockstep else errands)(world, proc)
        except BusStopped:
            must(member.stopping, f"{proc.life} is told that the bus stops")
    yield Wait(lambda: not proc.section, "no thread is in the critical section", quiet=True)
    if proc.section:
        yield from _until_out(proc)
    member.reports.append(records.Leave())
    proc.left = True


def _until_out(proc: Proc) -> Program:
    """Who is inside when the bus stops comes out first."""
    while proc.section:
        yield None


def errands(world: World, proc: Proc) -> Program:
    """Some things to do; then, keep the others company at the barrier until all are done."""
    for _ in range(world.below(world.plan.errands) + 1):
        if world.chance(world.plan.leavers):
            return
        yield from errand(world, proc, barriers=True)
    proc.done = True
    while not world.all_done():
        yield from _caught(barrier(world, proc, "", world.all_done))
        yield None
    yield Wait(world.may_leave, "all may leave")


def lockstep(world: World, proc: Proc) -> Program:
    """Rounds, in step; whoever is lost in between is waited for."""
    while proc.rounds < world.plan.rounds:
        if world.chance(world.plan.leavers):
            return
        if world.chance(0.6):
            yield from errand(world, proc, barriers=False)
        yield None
        try:
            yield from barrier(world, proc, LOCKSTEP)
        except (MemberLost, BusTimeout):
            continue
        proc.rounds += 1
        world.truth.counted(proc)
    proc.done = True
    yield Wait(world.may_leave, "all may leave")


def aside(world: World, proc: Proc) -> Program:
    """A second thread of the program."""
    try:
        for _ in range(world.below(4) + 1):
            yield from errand(world, proc, barriers=False)
    except BusStopped:
        must(proc.member.stopping, f"{proc.life} is told that the bus stops")


def errand(world: World, proc: Proc, *, barriers: bool) -> Program:
    """One thing of those that the plan has."""
    do = world.pick(world.plan.doings)
    if do == "send":
        yield from _caught(send(world, proc, world.some_of(proc)))
    elif do == "broadcast":
        yield from _caught(send(world, proc, proc.member.others()))
    elif do == "sync" and len(proc.member.view.seats) > 1:
        yield from _caught(call(world, proc, [world.pick(proc.member.others())]))
    elif do == "broadcast_sync":
        yield from _caught(call(world, proc, proc.member.others()))
    elif do == "section":
        yield from _caught(section(world, proc))
    elif do == "barrier" and barriers:
        yield from _caught(barrier(world, proc, ""))
    else:
        proc.member.clock += 1
        proc.moves += 1
    yield None


def _caught(program: Program) -> Program:
    """A call that timed out is done."""
    try:
        yield from program
    except BusTimeout:
        return


def send(world: World, proc: Proc, lives: list[int]) -> Program:
    """`Communicator._send`."""
    member = proc.member
    for life in lives:
        if not member.has_room(life):
            world.truth.counts["waited for room"] += 1
            yield Wait(_has_room(member, life), f"room at {life}", timed=True)
            lives = [each for each in lives if member.lives(each)]
        if member.lives(life) and life != proc.life:
            world.truth.has_room(proc.life, life)
    _sent(world, proc, lives, answered=False)


def _has_room(member: Member, life: int) -> Callable[[], bool]:
    return lambda: not member.lives(life) or member.has_room(life)


def _sent(world: World, proc: Proc, lives: list[int], *, answered: bool) -> tuple[int, bytes]:
    member = proc.member
    head = world.truth.sends(proc, lives)
    payload = head + bytes(world.below(24))
    before = member.clock
    if proc.life in lives:  # it arrives at once
        world.truth.has_sent(proc, before + 1, lives, len(payload))
        number = member.send(lives, payload, "t", answered=answered)
    else:
        number = member.send(lives, payload, "t", answered=answered)
        world.truth.has_sent(proc, before + 1, lives, len(payload))
    proc.moves += 1 + (proc.life in lives)
    return number, head


def call(world: World, proc: Proc, lives: list[int]) -> Program:
    """`Communicator._call`."""
    member = proc.member
    number, head = _sent(world, proc, lives, answered=True)
    waiting = member.answers[number]
    try:
        yield Wait(lambda: all(a is not None for a in waiting.values()), f"answers of {lives}", timed=True)
        for life in lives:
            must(
                life in waiting or not member.lives(life),
                f"{proc.life} waits for {life} no longer, which lives",
            )
    except BusError:
        member.give_up(number)
        raise
    answers = member.answers.pop(number)
    for life, payload in answers.items():
        if payload is not None:
            world.truth.answered(proc.life, life, payload, head)


def taker(world: World, proc: Proc) -> Program:
    """Takes what has come, and answers who waits for an answer."""
    member = proc.member
    found: list[Envelope] = []

    def came() -> bool:
        if not found:
            envelope = member.mailbox.pick_rendezvous(lambda _: True)
            if envelope is not None:
                found.append(envelope)
        return bool(found) or bool(member.mailbox)

    while True:
        yield Wait(came, "a message", quiet=True)
        while not world.calm and world.chance(world.plan.laziness):
            yield None
        for envelope in [*found, *(member.mailbox.take_all() if world.chance(0.8) else ())]:
            world.truth.taken(proc.life, envelope)
            member.taken(envelope)
            if envelope.call:
                head = world.truth.sends(proc, ())
                world.truth.has_sent(proc, member.clock + 1)
                member.answer(envelope, head + envelope.payload[:4] + bytes(world.below(8)))
                proc.moves += 1
        found.clear()
        yield None


def section(world: World, proc: Proc) -> Program:
    """`Communicator.request_critical_section` and what follows."""
    member = proc.member
    yield Wait(lambda: not proc.section, "the other thread is out", timed=True)
    proc.section = True
    try:
        member.want_token()
        yield Wait(lambda: member.inside, "the critical section", timed=True)
    except BusError:
        member.cancel_token()
        proc.section = False
        raise
    world.truth.enter(proc.life)
    for _ in range(world.below(4)):
        yield None
    world.truth.leave(proc.life)
    member.leave_critical_section()
    proc.section = False


def barrier(world: World, proc: Proc, name: str, enough: Callable[[], bool] = bool) -> Program:
    """`Barrier.wait`; `enough` ends it too."""
    member, keep_all = proc.member, name == LOCKSTEP
    _raise_losses(world, proc, name)
    arrival = member.arrive(name, keep_all=keep_all)
    proc.waits_at = (name, arrival.number)

    def ended() -> bool:
        return arrival.opened or (keep_all and member.has_untold)

    try:
        yield Wait(lambda: ended() or enough(), f"barrier {name!r} opens", timed=True)
    except BusTimeout:
        member.withdraw(arrival)
        yield Wait(lambda: arrival.withdrawn or ended() or enough(), "the keeper's word", timed=False)
        if not ended() and not enough():
            proc.waits_at = None
            raise
    if enough() and not ended():
        return
    proc.waits_at = None
    if not arrival.opened:
        _raise_losses(world, proc, name)
    world.truth.passed(proc, name, arrival.number)


def _raise_losses(world: World, proc: Proc, name: str) -> None:
    if name == LOCKSTEP and proc.member.has_untold:
        names = proc.member.untold()
        world.truth.told(proc, names)
        raise MemberLost(names)
