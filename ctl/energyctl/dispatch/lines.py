"""The lines that dispatcher and worker answer with: read into what they mean. Touches nothing."""

from __future__ import annotations

import json
from typing import Any, Final

PORT_MAX: Final = 65_535


class Referred:
    """A worker listens for us there; the ticket lets us in."""

    __slots__ = ("port", "ticket")

    def __init__(self, port: int, ticket: str) -> None:
        self.port = port
        self.ticket = ticket


class TurnedDown:
    """The dispatcher takes the request not, or not now."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason

    @property
    def is_unknown(self) -> bool:
        """No dispatcher of this version will ever take it."""
        return self.reason.startswith("unknown request type")


class Going:
    """How far the answer is: 0 to 1."""

    __slots__ = ("doing", "share")

    def __init__(self, share: float, doing: str) -> None:
        self.share = share
        self.doing = doing


class Result:
    """The answer."""

    __slots__ = ("found",)

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found


class Failed:
    """There is no result: what happened, why, and what to do."""

    __slots__ = ("do", "what", "why")

    def __init__(self, what: str, why: str, do: str) -> None:
        self.what = what
        self.why = why
        self.do = do


Said = Referred | TurnedDown | Going | Result | Failed


class Nonsense(Exception):
    """A line that no dispatcher or worker says."""


def parse(line: bytes) -> Said:
    """What a line means. Raises Nonsense."""
    text = line.decode("utf-8", "replace").strip()
    if text.startswith("{"):
        return _parse_json(text)
    if text.startswith("-1"):
        return TurnedDown(text.removeprefix("-1").strip())
    port, _, ticket = text.partition(" ")
    if port.isascii() and port.isdecimal() and 0 < int(port) <= PORT_MAX:
        return Referred(int(port), ticket.strip())
    raise Nonsense(text[:80])


def _parse_json(text: str) -> Said:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Nonsense(text[:80]) from error
    match said:
        case {"result": dict(found)}:
            return Result(found)
        case {"error": {"what": str(what), "why": str(why), "do": str(do)}}:
            return Failed(what, why, do)
        case {"progress": int(share) | float(share), "doing": str(doing)}:
            return Going(float(share), doing)
        case _:
            raise Nonsense(text[:80])
