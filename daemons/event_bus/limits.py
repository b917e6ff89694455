"""Every limit of the bus, on one page: each with its unit and its reason."""

from __future__ import annotations

from typing import Final

PROCESSES_MAX: Final = 128
"""Living processes: each pair has a connection of its own, and a process has 1,024 descriptors by default."""

NAME_BYTES_MAX: Final = 64
"""A seat's name, in UTF-8: it stands in logs, in errors and in every view."""

TYPE_BYTES_MAX: Final = 255
"""A message's type, in UTF-8: its length is one byte of the frame."""

TYPES_KNOWN_MAX: Final = 256
"""Types of messages per connection that are read without decoding them anew."""

MESSAGE_BYTES_MAX: Final = 1 << 30
"""One pickled payload: more belongs into a file or shared memory, whose name is sent."""

UNTAKEN_BYTES_MAX: Final = 64 << 20
"""Per pair, what was sent and the receiver's program has not taken: beyond it, sending waits."""

SEND_BYTES: Final = 1 << 17
"""Of what waits for the kernel, about so much is sent at once: a socket's buffer, roughly."""

ACK_EVERY_FRAMES: Final = 64
"""Received frames until the sender is told, so that it may forget them."""

RECEIVE_BYTES: Final = 1 << 18
"""One read of a connection: several full socket buffers' worth of small messages."""

HEARTBEAT_S: Final = 0.5
"""How often the keeper asks each process whether it lives."""

SILENCE_S: Final = 3.0
"""A process that has not answered for so long is frozen: it is killed, and then it is dead for all."""

BUSY_S: Final = 60.0
"""A silent process that computes holds its interpreter's lock, and is not frozen; for longer it may not."""

STOP_TERM_S: Final = 1.0
"""A process that has not ended so long after it was asked to stop gets SIGTERM,"""

STOP_KILL_S: Final = 1.8
"""and after so long SIGKILL: `stop_process()` is to return within three seconds, whatever it hangs in."""

STOP_GIVE_UP_S: Final = 2.4
"""After so long the manager stops waiting for the keeper, and kills all that is left itself."""

FLUSH_S: Final = 10.0
"""How long a process that leaves waits until the kernel has its last messages: whoever lives reads them."""

LOG_S: Final = 0.2
"""How long the keeper, when all have ended, waits for its last words to be written."""

START_S: Final = 30.0
"""How long a batch may take from its fork until all its constructors have returned."""
