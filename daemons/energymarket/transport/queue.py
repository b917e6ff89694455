"""The queue of offers: a System V message queue that a System V semaphore guards.

The semaphore's holder may die (SEM_UNDO frees it) or freeze (waiting for it has a bound, then
QueueFrozen). Nobody waits for room or for a message while holding it. What lies in the queue are
hints: a message that is lost or forged costs nobody energy, because the ledger owns the goods.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import struct
from typing import TYPE_CHECKING, Any, Final

import sysv_ipc

from energymarket.exits import Exit
from energymarket.runtime.clock import monotonic_s
from energymarket.transport.resources import QUEUE_BYTES, Ipc, Kind, ResourceError
from energymarket.wire.offer_message import MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOCK_WAIT_S: Final = 0.5
DRAIN_MESSAGES_MAX: Final = QUEUE_BYTES + 1
"""One drain takes at most what the queue can hold (a message has a byte at least, or none at all)."""

RINGS_MAX: Final = 8
"""Rings that nobody has heard yet; each costs a later waiter one look in vain, so they stay few."""

_SEM_UNDO: Final = 0x1000
_IPC_NOWAIT: Final = 0o4000
_IPC_STAT: Final = 2
_MSG_NOERROR: Final = 0o10000

_INTERRUPTIBLE: Final = signal.valid_signals() - {
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSEGV,
}


class QueueFrozen(ResourceError):
    """The semaphore was not freed within the bound: its holder is stopped or stuck."""


class QueueGone(ResourceError):
    """Queue or semaphore were removed under us: attach to the run again (exit 75)."""

    code = Exit.TRY_AGAIN


_SEMBUF: Final = struct.Struct("@Hhh")  # number, change, flags
_TIMESPEC: Final = struct.Struct("@ll")
_MSQID: Final = struct.Struct("@48x3l3L2i2L")
"""struct msqid_ds of 64-bit Linux (x86-64, aarch64 and riscv64 agree): 3 times; bytes, messages, bytes
at most; 2 pids; 2 unused."""

_RELEASE: Final = _SEMBUF.pack(0, 0, _IPC_NOWAIT) + _SEMBUF.pack(0, 1, _SEM_UNDO | _IPC_NOWAIT)
"""If the semaphore is taken, free it: both or neither."""

_TYPE: Final = struct.Struct("@l")
_KIND_MAX: Final = (1 << 31) - 1
"""sysv_ipc takes types of 31 bits; the kernel has 63, which lockstep needs for its epochs."""

_libc = ctypes.CDLL(None, use_errno=True)


def _semop(semaphore: int, change: int, flags: int, timeout_s: float | None) -> int:
    """One semaphore operation; 0, or the error's number. sysv_ipc's wheels have no time limit."""
    limit = None
    if timeout_s is not None:
        limit = _TIMESPEC.pack(*divmod(max(0, int(timeout_s * 1e9)), 1_000_000_000))
    operation = _SEMBUF.pack(0, change, flags)
    if _libc.semtimedop(semaphore, operation, ctypes.c_size_t(1), limit) == 0:
        return 0
    return ctypes.get_errno()


class OfferQueue:
    """One process's end of the queue. Not for several threads at once."""

    def __init__(self, ipc: Ipc) -> None:
        self._mutex = ipc.mutex
        self._bell = ipc.bell
        self._id = ipc.queue
        try:
            # A bigger message than this cannot be in a queue of this size, so none can get stuck.
            self._queue: Any = sysv_ipc.MessageQueue(ipc.key(Kind.QUEUE), max_message_size=QUEUE_BYTES)
            self._bell_handle: Any = sysv_ipc.Semaphore(ipc.key(Kind.BELL))
            self._mutex_handle: Any = sysv_ipc.Semaphore(ipc.key(Kind.MUTEX))
        except sysv_ipc.ExistentialError as error:
            raise QueueGone("the offer queue is gone; attach to the run again") from error
        except sysv_ipc.PermissionsError as error:
            raise ResourceError(
                f"may not use the offer queue as uid {os.geteuid()}", code=Exit.PERMISSION
            ) from error
        found = (self._queue.id, self._mutex_handle.id, self._bell_handle.id)
        if found != (self._id, self._mutex, self._bell):
            raise QueueGone("the offer queue is another one now; attach to the run again")
        self._bytes_max = int(self._queue.max_size)
        self._held = False
        self.garbage = 0  # messages dropped for their size
        self.lost = 0  # messages that found no room when the queue was turned round

    @contextlib.contextmanager
    def locked(self, timeout_s: float = LOCK_WAIT_S) -> Iterator[None]:
        """Hold the semaphore. Raises QueueFrozen after the bound, QueueGone if it was removed."""
        self._acquire(timeout_s)
        self._held = True
        try:
            yield
        finally:
            self._held = False
            # Fails when the semaphore was removed meanwhile, which the next call says, or when it was
            # reset because we were frozen: then it is not ours, and must not be freed a second time.
            _libc.semop(self._mutex, _RELEASE, ctypes.c_size_t(2))

    def put(self, kind: int, data: bytes) -> bool:
        """Send a message under a type above zero; False if the queue is full. Never waits."""
        self._guard(data)
        return self._send(kind, data)

    def put_first(self, kind: int, data: bytes) -> bool:
        """Send a message that stands before all others: the queue is turned round within this hold.

        The rest of a split offer keeps its place so. False if it found no room (then nothing changed).
        """
        self._guard(data)
        if self.depth()[1] + len(data) > self._bytes_max:
            return False
        rest = self._receive_all()
        sent = self._send(kind, data)
        for other_kind, other in rest:
            if not self._send(other_kind, other):
                self.lost += 1  # somebody wrote without holding the semaphore; its giver keeps the goods
        return sent

    def remove(self, unwanted: Callable[[int], bool]) -> None:
        """Drop the messages whose type that says of: the queue is turned round within this hold."""
        self._guard(b"")
        for kind, data in self._receive_all() if self.depth()[0] else ():
            if not unwanted(kind) and not self._send(kind, data):
                self.lost += 1  # somebody wrote without holding the semaphore; its giver keeps the goods

    def take(self, kind: int = 0) -> tuple[int, bytes] | None:
        """Take the oldest message (of a type; of the lowest type up to -kind if below 0), or None."""
        self._guard(b"")
        for _ in range(DRAIN_MESSAGES_MAX):
            got = self._receive(kind)
            if got is None:
                return None
            if len(got[1]) <= MESSAGE_BYTES_MAX:
                return got
            self.garbage += 1
        return None

    def drain(self) -> int:
        """Drop every message; how many there were. Needs no hold: also a frozen holder's queue is emptied."""
        return len(self._receive_all())

    def drain_unless_frozen(self, timeout_s: float = LOCK_WAIT_S) -> int:
        """Drop every message under the semaphore; 0 if that is frozen: what stays is of an old slot."""
        try:
            with self.locked(timeout_s):
                return self.drain()
        except QueueFrozen:
            return 0

    def limit(self, bytes_max: int) -> None:
        """Make the queue smaller than the kernel's default; only its owner may."""
        try:
            self._queue.max_size = min(int(self._queue.max_size), bytes_max)
        except sysv_ipc.PermissionsError as error:
            raise ResourceError(f"may not set the size of the offer queue as uid {os.geteuid()}") from error

    def reset(self) -> None:
        """Empty the queue and free the semaphore, whoever holds it: for a slot that is taken back."""
        self.drain()
        try:
            self._mutex_handle.value = 1  # SETVAL also forgets what anybody's SEM_UNDO would add
            self._bell_handle.value = 0
        except sysv_ipc.ExistentialError as error:
            raise QueueGone("the queue's semaphores are gone; attach to the run again") from error

    def wait(self, timeout_s: float) -> bool:
        """Wait until somebody rings, at most so long; True if somebody did. A signal ends it early."""
        number = _semop(self._bell, -1, 0, timeout_s)
        if number in {errno.EIDRM, errno.EINVAL}:
            raise QueueGone("the queue's bell is gone; attach to the run again")
        return number == 0

    def pause(self, timeout_s: float) -> None:
        """Let time pass without listening to the bell."""
        select.poll().poll(max(0, int(timeout_s * 1000)))

    def ring(self) -> None:
        """Wake everybody who waits, and let the next one who comes look at once."""
        try:
            waiting, rung = self._bell_handle.waiting_for_nonzero, self._bell_handle.value
        except sysv_ipc.ExistentialError as error:
            raise QueueGone("the queue's bell is gone; attach to the run again") from error
        if rung < RINGS_MAX:
            _semop(self._bell, waiting + 1, _IPC_NOWAIT, None)

    def ring_all(self) -> None:
        """Wake everybody who waits, and whoever is about to: looking in vain is cheaper than being late."""
        try:
            waiting, rung = self._bell_handle.waiting_for_nonzero, self._bell_handle.value
        except sysv_ipc.ExistentialError as error:
            raise QueueGone("the queue's bell is gone; attach to the run again") from error
        if rung < RINGS_MAX:
            _semop(self._bell, waiting + RINGS_MAX - rung, _IPC_NOWAIT, None)

    def depth(self) -> tuple[int, int]:
        """Messages and bytes in the queue, by msgctl: units that hide /proc/sysvipc can ask too."""
        fields = self._state()
        return fields[4], fields[3]

    def room(self) -> int:
        """Bytes that the queue has room for, as its owner has limited it."""
        fields = self._state()
        return int(fields[5] - fields[3])

    def limit_bytes(self) -> int:
        """The bytes that it holds at most (msg_qbytes)."""
        return self._state()[5]

    def _state(self) -> tuple[int, ...]:
        state = ctypes.create_string_buffer(_MSQID.size)
        if _libc.msgctl(self._id, _IPC_STAT, state) != 0:
            number = ctypes.get_errno()
            if number in {errno.EIDRM, errno.EINVAL}:
                raise QueueGone("the offer queue is gone; attach to the run again")
            raise OSError(number, os.strerror(number))
        return _MSQID.unpack(state)

    def _guard(self, data: bytes) -> None:
        if not self._held:
            raise RuntimeError("the queue is used within `with queue.locked(...)` only")
        if len(data) > MESSAGE_BYTES_MAX:
            raise ValueError(f"a message has at most {MESSAGE_BYTES_MAX} bytes, not {len(data)}")

    def _acquire(self, timeout_s: float) -> None:
        number = _semop(self._mutex, -1, _SEM_UNDO | _IPC_NOWAIT, None)
        if number == errno.EAGAIN:
            # Signals wait outside: else each would start the bound afresh.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTIBLE)
            try:
                until_s = monotonic_s() + timeout_s
                while (number := _semop(self._mutex, -1, _SEM_UNDO, until_s - monotonic_s())) == errno.EINTR:
                    pass  # a tracer, or SIGSTOP and SIGCONT: what is left of the bound
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if number == errno.EAGAIN:
            raise QueueFrozen(f"the queue's semaphore was not freed within {timeout_s} s")
        if number in {errno.EIDRM, errno.EINVAL}:
            raise QueueGone("the queue's semaphore is gone; attach to the run again")
        if number != 0:
            raise ResourceError(f"the queue's semaphore: {os.strerror(number)}")

    def _send(self, kind: int, data: bytes) -> bool:
        if kind > _KIND_MAX:
            return self._send_wide(kind, data)
        while True:
            try:
                self._queue.send(data, False, kind)
            except sysv_ipc.BusyError:
                return False
            except sysv_ipc.ExistentialError as error:
                raise QueueGone("the offer queue is gone; attach to the run again") from error
            except sysv_ipc.Error as error:
                _raise_unless_interrupted(error)
            else:
                return True

    def _send_wide(self, kind: int, data: bytes) -> bool:
        """Send under a type that sysv_ipc has no room for."""
        message = _TYPE.pack(kind) + data
        while _libc.msgsnd(self._id, message, ctypes.c_size_t(len(data)), _IPC_NOWAIT) != 0:
            number = ctypes.get_errno()
            if number == errno.EAGAIN:
                return False
            self._raise_unless_interrupted(number)
        return True

    def _receive_wide(self, kind: int) -> tuple[int, bytes] | None:
        """Receive by a type that sysv_ipc has no room for. What no buffer of ours holds is dropped."""
        room = ctypes.create_string_buffer(_TYPE.size + MESSAGE_BYTES_MAX)
        size, wanted = ctypes.c_size_t(MESSAGE_BYTES_MAX), ctypes.c_long(kind)
        while (got := _libc.msgrcv(self._id, room, size, wanted, _IPC_NOWAIT)) < 0:
            number = ctypes.get_errno()
            if number == errno.ENOMSG:
                return None
            if number == errno.E2BIG:
                self._discard(kind)
            else:
                self._raise_unless_interrupted(number)
        return _TYPE.unpack_from(room)[0], room.raw[_TYPE.size : _TYPE.size + got]

    @staticmethod
    def _raise_unless_interrupted(number: int) -> None:
        if number in {errno.EIDRM, errno.EINVAL}:
            raise QueueGone("the offer queue is gone; attach to the run again")
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))

    def _receive(self, kind: int) -> tuple[int, bytes] | None:
        if abs(kind) > _KIND_MAX:
            return self._receive_wide(kind)
        while True:
            try:
                data, found_kind = self._queue.receive(False, kind)
            except sysv_ipc.BusyError:
                return None
            except sysv_ipc.ExistentialError as error:
                raise QueueGone("the offer queue is gone; attach to the run again") from error
            except sysv_ipc.Error as error:
                _raise_unless_interrupted(error)
            except OSError as error:
                if error.errno != errno.E2BIG:
                    raise
                self._discard(kind)
            else:
                return int(found_kind), bytes(data)

    def _discard(self, kind: int) -> None:
        """Drop a message that no buffer of ours holds: somebody raised the queue's size (msg_qbytes)."""
        nothing = ctypes.create_string_buffer(ctypes.sizeof(ctypes.c_long))
        flags = _MSG_NOERROR | _IPC_NOWAIT
        _libc.msgrcv(self._id, nothing, ctypes.c_size_t(0), ctypes.c_long(kind), flags)
        self.garbage += 1

    def _receive_all(self) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        while len(found) < DRAIN_MESSAGES_MAX and (got := self._receive(0)) is not None:
            found.append(got)
        return found


def _raise_unless_interrupted(error: Exception) -> None:
    """sysv_ipc reports EINTR as its base error (no PEP 475): then the call is made again."""
    if type(error) is not sysv_ipc.Error or "ignaled" not in str(error):
        raise error
