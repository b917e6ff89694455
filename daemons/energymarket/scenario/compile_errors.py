"""What the compiler refuses: a file or a combination that cannot become arrays."""

from __future__ import annotations


class CompileError(Exception):
    """The text says what is wrong, where, and what to do."""
