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
# a name may have parts before and behind it (OPENWEATHERMAP_API_KEY, "client_secret_2"), or end in key
_NAME: Final = rf"(?:[\w.-]*{_SENSITIVE}[\w.-]*|(?:[\w.-]*[_-])?(?:key|pw|pwd)(?:[_-]file)?)(?![\w.-])"
_QUOTED: Final = r"\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'"
_FILE: Final = re.compile(r"file[\"']?\s*[=:\s]\s*$", re.IGNORECASE)
"""`key_file = "…"` and `--key-file …` name where a secret lies: a path is not the secret, and helps."""
_PATH: Final = re.compile(
    r"[\"']?(?:(?:~|\.{1,2}|\$\w+)?/[\w./ @:-]+|[\w./-]+\.[A-Za-z]{2,8})[\"']?\s*(?:#.*)?"
)
_NOTHING: Final = re.compile(r"[\"']?(?:0x[0-9A-Fa-f]{1,8}|)[\"']?|null|true|false|none", re.IGNORECASE)
"""The key of a System V object has 32 bits and is public; what is not set is no secret."""
# Each has two groups: what stays, and what is taken out.
_PATTERNS: Final = (
    # -----BEGIN PRIVATE KEY----- … -----END PRIVATE KEY-----
    re.compile(
        r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)(.*?)(?=-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
    ),
    # https://user:password@host, and user alone: it may be a token
    re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://)([^\s/@'\"]+)(?=@)"),
    # ?appid=…&key=…
    re.compile(rf"([?&](?:{_NAME}|sig)=)([^&\s'\"#]+)", re.IGNORECASE),
    # Authorization: Bearer …
    re.compile(r"(\b(?:Bearer|Basic)\s+)([A-Za-z0-9+/=._~-]{4,})", re.IGNORECASE),
    # --token …
    re.compile(rf"((?<![\w-])--{_NAME}[ \t]+)((?!-){_QUOTED}|(?!-)[^\s\"']\S*)", re.IGNORECASE),
    # name = """…""" and name = [ … ], of one line or of many
    re.compile(
        rf"((?<![\w.-]){_NAME}[\"']?\s*[=:]\s*)(\"{{3}}.*?(?:\"{{3}}|\Z)|'{{3}}.*?(?:'{{3}}|\Z)"
        r"|\[(?!redacted\]).*?(?:\]|\Z))",
        re.IGNORECASE | re.DOTALL,
    ),
    # name = "…" and "name": "…" and name: '…': quoted values with escapes
    re.compile(rf"((?<![\w.-]){_NAME}[\"']?\s*[=:]\s*)({_QUOTED})", re.IGNORECASE),
    # "name": 1234
    re.compile(rf"((?<![\w.-]){_NAME}[\"']\s*:\s*)([^\s\"'\[{{,}}]+)", re.IGNORECASE),
    # name=… and name: … unquoted, to the end of the line: a password may hold anything
    re.compile(rf"((?<![\w.-]){_NAME}[ \t]*[=:][ \t]*)(?!\[redacted\])([^\s\"'&][^\n]*)", re.IGNORECASE),
)
_OPENS: Final = re.compile(
    rf"(?<![\w.-]){_NAME}[\"']?\s*[=:]\s*(\"{{3}}|'{{3}}|\[)(.*)", re.IGNORECASE | re.DOTALL
)


def redact(text: str) -> tuple[str, int]:
    """The text without its secrets, and how many were taken out."""
    count = 0

    def put(found: re.Match[str]) -> str:
        nonlocal count
        stays, value = found.groups()
        named_file = _FILE.search(stays) and _PATH.fullmatch(value)
        if named_file or _NOTHING.fullmatch(value.strip()):
            return found[0]
        count += 1
        return f"{stays}{REDACTED}"

    blocks = _blocks(text)
    for pattern in _PATTERNS:
        blocks = [pattern.sub(put, block) for block in blocks]
    return "".join(blocks), count


def _blocks(text: str) -> list[str]:
    """Lines with their ends; a private key, an array or a text of many lines is one block."""
    blocks: list[str] = []
    awaited = ""
    for line in text.splitlines(keepends=True):
        if awaited and blocks:
            blocks[-1] += line
            awaited = "" if awaited in line else awaited
            continue
        blocks.append(line)
        awaited = _open_end(line)
    return blocks


def _open_end(line: str) -> str:
    """What ends the secret that this line begins and does not end; empty if there is none."""
    if "-----BEGIN" in line and "PRIVATE KEY" in line:
        return "" if "-----END" in line else "-----END"
    opened = _OPENS.search(line)
    if opened is None:
        return ""
    end = "]" if opened[1] == "[" else opened[1]
    return "" if end in opened[2] else end
