"""What can be wrong with bytes that came from somebody else: a name for each."""

from __future__ import annotations

from enum import StrEnum


class WireFault(StrEnum):
    """Why bytes were refused."""

    TRUNCATED = "truncated"  # fewer bytes than the header or the counts promise
    TRAILING = "trailing"  # more bytes than they promise
    MAGIC = "magic"  # not this kind of record at all
    VERSION = "version"  # this kind, but of a layout that we do not read
    KIND = "kind"  # a type or policy that nobody defined
    RANGE = "range"  # a count or value beyond its limit
    CHECKSUM = "checksum"


class WireError(ValueError):
    """Bytes that are not the record they should be: theirs to mend, never a reason to crash."""

    def __init__(self, fault: WireFault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
