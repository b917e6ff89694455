"""The members of a question, each of the kind that it has to be; what is not is refused by its name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from energymarket.requests.kind import Refused


def known_only(question: Mapping[str, object], names: Collection[str]) -> None:
    """Refuse a member that this type of request does not know: it may be one that is misspelt."""
    for name in question:
        if name not in names:
            known = ", ".join(sorted(names))
            raise Refused(
                f"the question has a member {name!r}", f"this request knows {known}", "leave it out"
            )


def whole(question: Mapping[str, object], name: str, low: int, high: int) -> int | None:
    """A whole number in low .. high; None where it is not asked for."""
    value = question.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _wrong(name, value, f"a whole number from {low} to {high}")
    return value


def number(question: Mapping[str, object], name: str, low: float, high: float) -> float | None:
    """A number in low .. high; None where it is not asked for."""
    value = question.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise _wrong(name, value, f"a number from {low:g} to {high:g}")
    return float(value)


def words(question: Mapping[str, object], name: str) -> str | None:
    """A text; None where it is not asked for."""
    value = question.get(name)
    if value is not None and not isinstance(value, str):
        raise _wrong(name, value, "a text")
    return value


def is_asked(question: Mapping[str, object], name: str, *, default: bool) -> bool:
    """True or false."""
    value = question.get(name, default)
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value


def _wrong(name: str, value: object, kind: str) -> Refused:
    return Refused(f"{name!r} of the question is {value!r:.60}", f"it has to be {kind}", "ask again with one")
