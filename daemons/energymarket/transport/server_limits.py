"""Every limit of the socket server, with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits of one server; those that end in `_max` bound what peers can make it hold.

    A socket may have its own (see `Server.listen`); connections_max, connections_per_uid_max and
    input_bytes_max are always those of the server.
    """

    frame_bytes_max: int = 64 * 1024
    """One call. Our calls are below 300 bytes; TRADE_LIMITS makes room for inline batches."""

    partial_s_max: float = 10.0
    """From the first byte of a frame to its NUL, however the rest trickles in."""

    input_bytes_max: int = 32 * 1024 * 1024
    """Received from all peers and not started: thousands with half a big frame each stay bounded."""

    malformed_max: int = 10
    """Frames that are no call, per connection: each gets a named error, the last one closes."""

    pending_max: int = 64
    """Calls of one connection that wait for an answer; further ones stay unread in the kernel."""

    calls_per_s_max: int = 20_000
    """Of one connection, with as many in a burst: a client that waits for its answers stays below."""

    quota_pause_s: float = 0.1
    """How long a connection over calls_per_s_max is not read."""

    descriptors_max: int = 4
    """Descriptors that come with one call; Submit needs one."""

    out_bytes_max: int = 1024 * 1024
    """Answers the peer has not read; one answer may exceed it, if nothing else waits before it."""

    out_calm_bytes: int = 16 * 1024
    """Above this much unread, no further call of the connection is started."""

    stalled_s_max: float = 10.0
    """A peer that reads nothing for so long, while answers wait, is closed."""

    connections_max: int = 4096
    """Of all sockets. A connection costs one descriptor and about 2 KiB; units set LimitNOFILE=16384."""

    connections_per_uid_max: int = 3072
    """Leaves room for operators and others when one user's program opens without end."""

    backlog: int = 1024
    """Connections that wait for accept; more than a fleet of single homes starting at once."""

    accept_pause_s: float = 0.05
    """Pause of accepting when the process has no descriptor left: neither spin nor starve."""

    flush_s_max: float = 2.0
    """For the last answers, when the server stops."""


TRADE_LIMITS = ServerLimits(frame_bytes_max=1024 * 1024)
"""The trade socket: a batch of 10,000 homes inline is 41 B a home and 16 B a claim, times 4/3 in base64:
about 0.8 MB. Bigger batches come as a memory file."""
