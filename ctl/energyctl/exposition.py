"""Metrics in the Prometheus text exposition format, version 0.0.4: families, labels, escapes.

https://prometheus.io/docs/instrumenting/exposition_formats/ - the names follow
https://prometheus.io/docs/practices/naming/: one unit per metric, in its name, and the base one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

NAMESPACE: Final = "energy_market"


class Family:
    """One metric: its name behind the namespace, its kind, what it means, and its samples."""

    __slots__ = ("help", "kind", "name", "samples")

    def __init__(self, name: str, kind: str, text: str) -> None:
        self.name = f"{NAMESPACE}_{name}"
        self.kind = kind
        self.help = text
        self.samples: list[tuple[dict[str, str], float]] = []

    def add(self, value: float | None, **labels: object) -> None:
        """A sample; what nobody knows is no sample."""
        if value is not None:
            self.samples.append(({name: str(label) for name, label in labels.items()}, value))

    def lines(self) -> list[str]:
        """The family as text; nothing without a sample."""
        if not self.samples:
            return []
        head = [f"# HELP {self.name} {_escaped(self.help)}", f"# TYPE {self.name} {self.kind}"]
        return head + [f"{self.name}{_labels(labels)} {_number(value)}" for labels, value in self.samples]

    def documents(self) -> list[dict[str, object]]:
        """The samples for programs."""
        return [
            {"name": self.name, "kind": self.kind, "labels": labels, "value": value}
            for labels, value in self.samples
        ]


def text_of(families: Iterable[Family]) -> str:
    """The whole page; the renderer ends its last line."""
    return "\n".join(line for family in families for line in family.lines())


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escaped(value, quote=True)}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}"


def _escaped(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quote else text


def _number(value: float) -> str:
    """A Go float: whole numbers as such, all digits of others."""
    return str(int(value)) if isinstance(value, bool | int) else repr(value)
