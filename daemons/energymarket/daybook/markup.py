"""Markup by construction: what is not markup already is text, and is escaped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML 1.0 document may hold, escaped or not (section 2.2, `Char`)."""


class Markup(str):
    """Text that is well-formed XML content."""

    __slots__ = ()


Content: TypeAlias = "str | Iterable[str]"


def escaped(text: str) -> Markup:
    """Text as content or as the value of an attribute. Markup stays what it is."""
    if isinstance(text, Markup):
        return text
    clean = _NO_XML.sub("\ufffd", text)
    for character, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        clean = clean.replace(character, name)
    return Markup(clean)


def joined(parts: Iterable[str]) -> Markup:
    """Parts in a row, each escaped if it is no markup."""
    return Markup("".join(escaped(part) for part in parts))


def tag(name: str, content: Content = "", /, **attributes: str | float | None) -> Markup:
    """An element. `class_` and `for_` are class and for, `aria_label` is aria-label; None is left out."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = escaped(content) if isinstance(content, str) else joined(content)
    return Markup(f"<{name}{shown}>{inner}</{name}>" if inner else _empty(name, shown))


_VOID: Final = frozenset({"meta", "input", "br", "rect", "path", "line", "circle", "use", "col"})


def _empty(name: str, shown: str) -> str:
    """HTML closes what it does not know as void by a tag of its own only."""
    return f"<{name}{shown}/>" if name in _VOID else f"<{name}{shown}></{name}>"


def _value(value: str | float) -> str:
    return escaped(value) if isinstance(value, str) else number(value)


def number(value: float) -> str:
    """A coordinate: a tenth of a pixel is finer than any screen shows."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
