"""How a command fails: a code, a name, and three lines for a person: what, why, do this."""

from __future__ import annotations

from energymarket.exits import Exit, Plugin

__all__ = ["Exit", "Plugin", "ProblemError", "RefusedError"]


class ProblemError(Exception):
    """A failure that a person can act on."""

    def __init__(self, exit_code: Exit, name: str, message: str, why: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.name = name
        self.message = message
        self.why = why
        self.hint = hint

    def lines(self) -> list[str]:
        """What, why, do this; a line that has nothing to say is left out."""
        parts = (("error: ", self.message), ("why:   ", self.why), ("hint:  ", self.hint))
        return [f"{label}{text}" for label, text in parts if text]

    def document(self) -> dict[str, object]:
        """The same for programs."""
        document: dict[str, object] = {
            "type": "error",
            "code": int(self.exit_code),
            "name": self.name,
            "message": self.message,
        }
        if self.why:
            document["why"] = self.why
        document["hint"] = self.hint
        return document


class RefusedError(ProblemError):
    """A configuration that is refused, in the very words of the daemons."""

    def __init__(self, words: str) -> None:
        super().__init__(Exit.CONFIGURATION, "configuration", words)

    def lines(self) -> list[str]:
        """The words as they are."""
        return self.message.split("\n")
