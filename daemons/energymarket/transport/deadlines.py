"""Deadlines that all lie the same span ahead: the order of entry is the order in which they come."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Deadlines(Generic[T]):
    """One deadline per item; starting, dropping and looking at the first cost the same for any number."""

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._until_s: dict[T, float] = {}

    def __contains__(self, item: T) -> bool:
        return item in self._until_s

    def __bool__(self) -> bool:
        return bool(self._until_s)

    def start(self, item: T, now_s: float) -> None:
        """Give an item a whole span from now on."""
        self._until_s.pop(item, None)
        self._until_s[item] = now_s + self._span_s

    def drop(self, item: T) -> None:
        """Forget an item, if it is there."""
        self._until_s.pop(item, None)

    def first_s(self, otherwise_s: float) -> float:
        """The earliest deadline."""
        return next(iter(self._until_s.values()), otherwise_s)

    def take_due(self, now_s: float) -> list[T]:
        """Take out the items whose deadline has come."""
        due: list[T] = []
        for item, until_s in self._until_s.items():
            if until_s > now_s:
                break
            due.append(item)
        for item in due:
            del self._until_s[item]
        return due
