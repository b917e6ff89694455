"""Slots as spans: so many of them in so few lines."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Spans:
    """Slots in ascending order, told as first and last of each stretch without a hole."""

    count: int = 0
    spans: list[list[int]] = field(default_factory=list)

    def add(self, slot: int) -> None:
        """The next slot."""
        self.count += 1
        if self.spans and self.spans[-1][1] == slot - 1:
            self.spans[-1][1] = slot
        else:
            self.spans.append([slot, slot])

    def text(self, shown: int = 5) -> str:
        """The first of them in words."""
        said = [str(first) if first == last else f"{first} to {last}" for first, last in self.spans[:shown]]
        more = len(self.spans) - shown
        return ", ".join(said) + (f" and {more} stretches more" if more > 0 else "")

    def document(self) -> dict[str, object]:
        """For programs."""
        return {"slots": self.count, "spans": self.spans}
