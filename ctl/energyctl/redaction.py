"""Secrets in text that leaves the machine: keys, passwords, tokens, credentials in addresses are taken out.

What is left out is replaced by REDACTED, so that a reader sees that something stood there, and counted.
"""

from __future__ import annotations

import re
from typing import Final

REDACTED: Final = "[redacted]"

_SENSITIVE: Final = (
    r"(?:pass(?:word|wd|phrase)?|secret|token|api[-_ ]?key|app[-_ ]?id|access[-_ ]?key|private[-_ ]?key"
    r"|credentials?|authorization|auth|session[-_ ]?id|cookie|signature|bearer)"
)
# a name may have parts before and behind it: OPENWEATHERMAP_API_KEY, "client_secret_2"
_NAME: Final = rf"[\w.-]*{_SENSITIVE}[\w.-]*"
_PATTERNS: Final = (
    # -----BEGIN PRIVATE KEY----- … -----END PRIVATE KEY-----
    (
        re.compile(
            r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        rf"\1{REDACTED}\2",
    ),
    # https://user:password@host, and user alone: it may be a token
    (re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/@'\"]+@"), rf"\1{REDACTED}@"),
    # ?appid=…&key=…
    (re.compile(rf"([?&](?:{_NAME}|key|sig)=)[^&\s'\"#]+", re.IGNORECASE), rf"\1{REDACTED}"),
    # Authorization: Bearer …
    (re.compile(r"(\b(?:Bearer|Basic)\s+)[A-Za-z0-9+/=._~-]{4,}", re.IGNORECASE), rf"\1{REDACTED}"),
    # name = "…" and "name": "…" and name: '…': quoted values with escapes
    (
        re.compile(rf"((?<![\w.-]){_NAME}[\"']?\s*[=:]\s*)(\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*')", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    # name=… and name: … unquoted, to the end of the word
    (
        re.compile(rf"((?<![\w.-]){_NAME}\s*[=:]\s*)(?!\[redacted\])[^\s\"',;&]+", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
)
_FILE_KEYS: Final = re.compile(r"(?im)^\s*[\w.-]*_file\s*=")
"""`key_file = "…"` names where a secret lies; the name is not the secret, and helps."""


def redact(text: str) -> tuple[str, int]:
    """The text without its secrets, and how many were taken out."""
    count = 0
    lines = []
    for block in _blocks(text):
        if _FILE_KEYS.match(block):
            lines.append(block)
            continue
        for pattern, put in _PATTERNS:
            block, found = pattern.subn(put, block)  # noqa: PLW2901 - each pattern goes over what the last left
            count += found
        lines.append(block)
    return "".join(lines), count


def _blocks(text: str) -> list[str]:
    """Lines with their ends; a private key of many lines is one block."""
    blocks: list[str] = []
    inside = False
    for line in text.splitlines(keepends=True):
        if inside and blocks:
            blocks[-1] += line
        else:
            blocks.append(line)
        if "-----BEGIN" in line and "PRIVATE KEY" in line:
            inside = True
        if "-----END" in line:
            inside = False
    return blocks
