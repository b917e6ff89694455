"""What a type of request is: its name, whether a ticket is needed, and the function that answers.

A file of this package (or of a directory of further types) that has a `REQUEST` is a type:

    REQUEST = RequestType("report", ticketed=True, answer=_answer)

The dispatcher reads all of these files when it starts, so whatever is heavy (NumPy, pandas) is imported
inside the answering.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Moment:
    """The suite's clock: market time, which stands still between slots of a market that is down."""

    utc_s: float  # market time, seconds since 1970-01-01 UTC
    slot: int  # number of the slot that runs
    slot_s: int  # its length in market time


class Abandoned(Exception):
    """Nobody waits for this answer any more: the client has gone, or its time is over. Let it pass."""


class Refused(Exception):
    """A question that gets no result: what is refused, why, and what to do about it, one sentence each."""

    def __init__(self, what: str, why: str, do: str) -> None:
        super().__init__(what, why, do)
        self.what = what
        self.why = why
        self.do = do

    def __str__(self) -> str:
        return f"{self.what}: {self.why} ({self.do})"


@dataclass(frozen=True, slots=True)
class Context:
    """What an answer may use."""

    progress: Callable[[float, str], None]
    """Tell the share that is done (0 to 1) and what is being done. Whoever is silent for longer than the
    watchdog allows (10 s under the shipped unit) is taken for frozen and killed. Raises Abandoned."""
    runtime: Path
    """The suite's runtime directory: the sockets of the market are in it."""
    now: Callable[[], Moment]
    """The suite's clock. Raises Refused while no market has ever written it."""


@dataclass(frozen=True, slots=True)
class RequestType:
    """One type of request."""

    name: str  # as clients say it, in lower case
    ticketed: bool  # the client shows a ticket and asks a question; else it comes and is answered
    answer: Callable[[Mapping[str, object], Context], Mapping[str, object] | str]
    """The question as a JSON object in, the result out: an object, or a line of text where no ticket is
    needed. Raises Refused, Abandoned."""
