"""What the dispatcher tells about itself over varlink, and where. Standard library only, for energyctl."""

from __future__ import annotations

from typing import Final

DIRECTORY: Final = "dispatch"
"""In the runtime directory of the suite: the pipes, the segment and the socket of the dispatcher."""
SOCKET: Final = "control"
"""In the dispatcher's directory; who may ask is the directory's business and the socket's mode."""
SOCKET_MODE: Final = 0o660
NAME: Final = "io.energymarket.Dispatch"

TEXT: Final = """\
# The dispatcher and its workers.
interface io.energymarket.Dispatch

type Worker (
  number: int,
  # absent: no process; idle; asked: handed a task; serving; lost: does not answer
  state: string,
  pid: ?int,
  exchanges: int,
  # processes of this number that came after the first
  restarts: int,
  # who is served, and with what
  client: ?string,
  request: ?string,
  port: ?int,
  # of the running answer, 0 to 1
  progress: ?float,
  doing: ?string,
  # how the last task ended
  outcome: string
)

# All workers.
method Workers() -> (workers: []Worker)

# The dispatcher itself: what became of all requests since its start.
method Status() -> (
  pid: int,
  age_ms: int,
  address: string,
  port: int,
  mode: string,
  workers: int,
  clients: int,
  waiting: int,
  asked: int,
  served: int,
  refused: int,
  expired: int,
  failed: int,
  exchanges_max: int,
  leaving: bool
)
"""
