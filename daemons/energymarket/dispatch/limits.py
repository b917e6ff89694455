"""Every limit of the dispatcher and its workers, with its unit and its reason."""

from __future__ import annotations

from typing import Final

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000

LINE_BYTES_MAX: Final = 64 * 1024
"""Of a client's line, its end included: a name, or a question of a few hundred bytes."""

LINES_WAITING_MAX: Final = 64
"""Lines of one client that wait for their turn; further bytes stay unread in the kernel."""

WORKERS_MAX: Final = 64
"""Far above the processors that heavy questions should have; a slot of the segment costs 0.4 MiB."""

TASK_BYTES_MAX: Final = 64 * 1024
"""Of a task in its slot: a question as long as a line may be does not fit, and is refused by name."""

WORD_BYTES_MAX: Final = 4 * 1024
"""Of what a worker says about itself: two texts of 120 characters are 1,440 bytes of JSON at most."""

RESULT_BYTES_MAX: Final = 256 * 1024
"""Of a result that comes back through the segment. Reports have some 20 KiB; redirected ones no bound."""

PORT_ABOVE: Final = 2222
"""A worker's port is above this one, whatever range the kernel takes its ports from."""

CLIENTS_MAX: Final = 1024
"""Open at once; the units set LimitNOFILE=16384."""

BACKLOG: Final = 256
"""Connections that wait to be accepted: more than the hundred clients that come at once."""

OUT_BYTES_MAX: Final = 1024 * 1024
"""Answers that a client has not read: a relayed result or two. A client with more is closed."""

OUT_CALM_BYTES: Final = 16 * 1024
"""Above this much unread, a client is not read either."""

IDLE_S: Final = 600
"""A client that says nothing for so long is closed: by hand one is quicker."""

QUEUE_WAIT_S: Final = 30
"""A request that no worker has taken up within this time is told so."""

TAKE_UP_S: Final = 2
"""From the handing over of a task to the worker's word that it listens: milliseconds on an idle machine.
Afterwards the request goes to another worker."""

TRIES_MAX: Final = 3
"""Workers that one request is handed to: one that kills three in a row is not tried on a fourth."""

PING_S: Final = 1
"""How often a worker that is absent, serving or lost is asked how it stands."""

GRACE_S: Final = 5
"""Beyond its own time-outs, until a worker is taken for lost."""

ANTEROOM_MAX: Final = 16
"""Strangers that may be at a worker's door at once, while it waits for the one it expects."""

SAY_TICKET_S: Final = 5
"""For whoever has connected to a worker to say its ticket; the rightful one is never kept out by others
for longer."""

STALLED_S: Final = 20
"""A client that reads nothing of its result for so long is let go."""

PROGRESS_EVERY_S: Final = 0.25
"""Most lines of progress: a person reads no more, and each costs a system call."""

ACCEPT_PAUSE_S: Final = 0.1
"""Without a descriptor for the next client: neither spin nor starve."""

LEAVE_S: Final = 10
"""For workers to leave when the dispatcher has done its number of exchanges."""
