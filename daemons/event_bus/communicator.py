"""What a process says and hears: messages, calls that wait, the critical section, barriers, its clock."""

from __future__ import annotations

import pickle
import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from event_bus import limits
from event_bus.errors import BusError, BusTimeout, MemberLost, ProcessLost
from event_bus.message import BROADCAST, BROADCAST_SYNC, MESSAGE, SYNC, Message
from event_bus.shell.clock import now_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from event_bus.protocol.mailbox import Envelope
    from event_bus.protocol.member import Arrival, Member
    from event_bus.shell.wires import Wires

_PROTOCOL = 5
_TYPES_CHECKED = frozenset({MESSAGE, BROADCAST})


class Communicator:
    """A process's voice on the bus. All its calls may be made from any thread of the process.

    Numbers are those of the living, consecutive from 0; they close up when somebody is gone. The name of a
    seat, which stays, may stand wherever a number of another process is asked for. Calls that
    wait take a `timeout` in seconds (None: for ever) and raise BusTimeout after it, BusStopped when the bus
    stops meanwhile, and ProcessLost when the one they wait for is gone.
    """

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._queue: deque[int] = deque()  # the threads that want to enter; the first asks for the token
        self._inside: int | None = None  # the thread that is in the critical section
        self._meeting = Barrier(wires, "", keep_all=False)
        self.mailbox = MailboxView(wires)

    # ------------------------------------------------------------------ messages

    def send_to(
        self, payload: Any, dest: int | str, *, type: str = MESSAGE, timeout: float | None = None
    ) -> None:
        """Send a message to process `dest` and go on.

        `payload` is anything that can be pickled, up to 1 GiB. Waits only while the receiver has 64 MiB
        from here that its program has not taken. Raises NoSuchProcess.
        """
        self._send(payload, (dest,), type, timeout)

    def broadcast(self, payload: Any, *, type: str = BROADCAST, timeout: float | None = None) -> None:
        """Send a message to all others and go on."""
        self._send(payload, None, type, timeout)

    def _send(
        self, payload: Any, numbers: tuple[int | str, ...] | None, type_: str, timeout: float | None
    ) -> None:
        data = _pickled(payload)
        _check_type(type_)
        with self._wires.step() as member:
            lives = member.others() if numbers is None else [member.seat(each).life for each in numbers]
            for life in lives:
                if not member.has_room(life):
                    self._wait_for_room(member, life, timeout)
                    lives = [each for each in lives if member.lives(each)]
            member.send(lives, data, type_)

    def _wait_for_room(self, member: Member, life: int, timeout: float | None) -> None:
        what = f"process {member.number_of(life)} has {limits.UNTAKEN_BYTES_MAX} bytes that it does not take"
        self._wires.wait(lambda: not member.lives(life) or member.has_room(life), timeout, what)

    def send_to_sync(self, payload: Any, dest: int | str, *, timeout: float | None = None) -> Any:
        """Send a message and wait until process `dest` has received it by `receive_from_sync`; its answer."""
        data = _pickled(payload)
        with self._wires.step() as member:
            life = _other(member, dest)
            answers = self._call(member, [life], data, SYNC, timeout, f"process {dest} receives")
            if life not in answers:
                raise ProcessLost(f"process {dest} is gone before it has received")
        return pickle.loads(answers[life])

    def receive_from_sync(self, payload: Any, sender: int | str, *, timeout: float | None = None) -> Message:
        """Wait for what process `sender` waits to have received; `payload` goes back as the answer."""
        return self._receive(_pickled(payload), sender, timeout)

    def broadcast_sync(self, payload: Any, sender: int | str, *, timeout: float | None = None) -> Any:
        """A call that all make: `sender`'s payload reaches everyone, and nobody goes on before it has.

        The sender gets the others' payloads, by number; each of the others gets the Message. The sender does
        not wait for those that are lost on the way.
        """
        data = _pickled(payload)
        with self._wires.step() as member:
            answers: dict[int, bytes] = {}
            mine = member.seat(sender).life == member.life
            if mine:
                found = self._call(
                    member, member.others(), data, BROADCAST_SYNC, timeout, "all others receive"
                )
                answers = {member.number_of(life): answer for life, answer in sorted(found.items())}
        if mine:
            return {number: pickle.loads(answer) for number, answer in answers.items()}
        return self._receive(data, sender, timeout)

    def _call(
        self, member: Member, lives: list[int], data: bytes, type_: str, timeout: float | None, what: str
    ) -> dict[int, bytes]:
        """Send, and wait for the answer of each that lives on; within `step()`."""
        call = member.send(lives, data, type_, answered=True)
        try:
            self._wires.wait(lambda: all(a is not None for a in member.answers[call].values()), timeout, what)
        except BaseException:
            member.give_up(call)
            raise
        answers = member.answers.pop(call)
        return {life: answer for life, answer in answers.items() if answer is not None}

    def _receive(self, data: bytes, sender: int | str, timeout: float | None) -> Message:
        with self._wires.step() as member:
            life = _other(member, sender)
            found: list[Envelope] = []

            def came() -> bool:
                if not found:
                    envelope = member.mailbox.pick_rendezvous(lambda each: each.life == life)
                    if envelope is not None:
                        found.append(envelope)
                return bool(found) or not member.lives(life)

            self._wires.wait(came, timeout, f"process {sender} sends")
            if not found:
                raise ProcessLost(f"process {sender} is gone and has sent nothing")
            member.taken(found[0])
            member.answer(found[0], data)
        return opened(member, found[0])

    # ------------------------------------------------------------------ the critical section

    def request_critical_section(self, *, timeout: float | None = None) -> None:
        """Wait until this thread is the only one in the critical section, of all threads of all processes."""
        me, begun_s = threading.get_ident(), now_s()
        with self._wires.step() as member:
            if self._inside == me:
                raise BusError("this thread is in the critical section already")
            self._queue.append(me)
            try:
                if self._queue[0] != me:
                    what = "another thread of this process leaves the critical section"
                    self._wires.wait(lambda: self._queue[0] == me, timeout, what)
                    timeout = None if timeout is None else begun_s + timeout - now_s()
                member.want_token()
                self._wires.wait(lambda: member.inside, timeout, "the critical section is entered")
            except BaseException:  # a handler of signals may raise what it likes
                if self._queue[0] == me:
                    member.cancel_token()
                self._queue.remove(me)
                raise
            self._inside = me

    def release_critical_section(self) -> None:
        """Leave the critical section."""
        with self._wires.step() as member:
            if self._inside is None:
                raise BusError("nobody of this process is in the critical section")
            if self._inside != threading.get_ident():
                raise BusError(
                    "another thread of this process is in the critical section, and leaves it itself"
                )
            member.leave_critical_section()
            self._inside = None
            self._queue.popleft()

    @contextmanager
    def critical_section(self, *, timeout: float | None = None) -> Iterator[None]:
        """`with communicator.critical_section():` requests it, and releases it whatever happens inside."""
        self.request_critical_section(timeout=timeout)
        try:
            yield
        finally:
            self.release_critical_section()

    @property
    def in_critical_section(self) -> bool:
        """Whether this thread is inside."""
        return self._inside == threading.get_ident()

    # ------------------------------------------------------------------ barriers

    def synchronize(self, *, timeout: float | None = None) -> None:
        """Wait until all living processes have come here. One that dies is waited for no longer."""
        self._meeting.wait(timeout=timeout)

    def barrier(self, name: str, *, keep_all: bool) -> Barrier:
        """The barrier of that name, for round after round. All who use it say the same of `keep_all`.

        With `keep_all` it opens for all or for nobody: a death raises MemberLost in each living process,
        once (now, if it waits; else when it comes), and the barrier opens when the seat is filled again and
        all have come anew. Without, it opens for the living, as `synchronize` does.
        """
        return Barrier(self._wires, name, keep_all=keep_all)

    # ------------------------------------------------------------------ the clock

    @property
    def clock(self) -> int:
        """The Lamport clock: +1 when sending, the larger of both + 1 when receiving; messages only."""
        return self._wires.member.clock

    def inc_clock(self) -> int:
        """An event of the program's own: +1; the new value."""
        with self._wires.step() as member:
            member.clock += 1
            return member.clock


class MailboxView:
    """The messages that have come, to pick from: what is picked, `process()` does not get."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires

    def __len__(self) -> int:
        """The messages that wait."""
        with self._wires.step() as member:
            return len(member.mailbox)

    def pick(
        self, *, type: str | None = None, sender: int | str | None = None, timeout: float | None = None
    ) -> Message:
        """The oldest message of that type and from that process, as soon as there is one."""
        with self._wires.step() as member:
            life = None if sender is None else member.seat(sender).life
            found: list[Envelope] = []

            def came() -> bool:
                found.extend(_picked(member, _wanted(type, life)) if not found else ())
                return bool(found) or (life is not None and not member.lives(life))

            self._wires.wait(came, timeout, "a message comes")
            if not found:
                raise ProcessLost(f"process {sender} is gone and has sent nothing")
        return opened(member, found[0])

    def peek(self, *, type: str | None = None, sender: int | str | None = None) -> Message | None:
        """The oldest such message if it is there already, taken; else None."""
        with self._wires.step() as member:
            life = None if sender is None else member.seat(sender).life
            found = _picked(member, _wanted(type, life))
        return opened(member, found[0]) if found else None


class Barrier:
    """A barrier of one process's; see `Communicator.barrier`."""

    def __init__(self, wires: Wires, name: str, *, keep_all: bool) -> None:
        self._wires = wires
        self._name = name
        self._keep_all = keep_all
        self._title = f"barrier {name!r} opens" if name else "all processes synchronize"

    def wait(self, *, timeout: float | None = None) -> None:
        """Wait until it opens. Raises MemberLost if it keeps everyone and somebody is lost."""
        with self._wires.step() as member:
            if self._keep_all:
                self._raise_losses(member)
            if member.waits_at(self._name):
                raise BusError(f"another thread of this process waits already: {self._title}")
            arrival = member.arrive(self._name, keep_all=self._keep_all)
            arrival.awaited = True
            ended = self._ends(member, arrival)
            try:
                self._await(member, arrival, ended, timeout)
            except BaseException:  # a handler of signals may raise what it likes
                if not (arrival.opened or arrival.withdrawn):
                    member.withdraw(arrival)
                raise
            finally:
                arrival.awaited = False
            if not arrival.opened:
                self._raise_losses(member)

    def _await(
        self, member: Member, arrival: Arrival, ended: Callable[[], bool], timeout: float | None
    ) -> None:
        try:
            self._wires.wait_for_keeper(ended, timeout, self._title)
        except BusTimeout:
            member.withdraw(arrival)
            # However long the keeper takes: a barrier that opened for others has opened for this one too.
            self._wires.wait_for_keeper(lambda: arrival.withdrawn or ended(), None, "the keeper answers")
            if not ended():
                raise

    def _ends(self, member: Member, arrival: Arrival) -> Callable[[], bool]:
        if self._keep_all:
            return lambda: arrival.opened or member.has_untold
        return lambda: arrival.opened

    def _raise_losses(self, member: Member) -> None:
        if member.has_untold:
            raise MemberLost(member.untold())


def _other(member: Member, number: int | str) -> int:
    """The life of another process: to wait for oneself would be for ever."""
    life = member.seat(number).life
    if life == member.life:
        raise BusError(f"process {number} is this process: nobody else would answer it")
    return life


def _wanted(type_: str | None, life: int | None) -> Callable[[Envelope], bool]:
    return lambda e: (type_ is None or e.type == type_) and (life is None or e.life == life)


def _picked(member: Member, wanted: Callable[[Envelope], bool]) -> list[Envelope]:
    envelope = member.mailbox.pick(wanted)
    if envelope is None:
        return []
    member.taken(envelope)
    return [envelope]


def opened(member: Member, envelope: Envelope) -> Message:
    """The message of an envelope.

    Not within `step()`: what unpickles may take its time, or talk on the bus itself.
    """
    return Message(
        pickle.loads(envelope.payload),
        envelope.number,
        envelope.type,
        envelope.stamp,
        member.name_of(envelope.life),
    )


def _pickled(payload: Any) -> bytes:
    data = pickle.dumps(payload, _PROTOCOL)
    if len(data) > limits.MESSAGE_BYTES_MAX:
        raise BusError(f"a payload of {len(data)} bytes: at most {limits.MESSAGE_BYTES_MAX}; send its name")
    return data


def _check_type(type_: str) -> None:
    if type_ in {SYNC, BROADCAST_SYNC}:
        raise BusError(f"messages of type {type_!r} are sent by the calls that wait")
    if type_ in _TYPES_CHECKED:
        return
    size = len(type_.encode())
    if not 0 < size <= limits.TYPE_BYTES_MAX:
        raise BusError(f"a message's type has 1 to {limits.TYPE_BYTES_MAX} bytes, this has {size}")
