"""`energyctl completion`: the completion file of a shell; and the words that only a running market knows."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, assert_never

import typer

from energyctl import systemd
from energyctl.asking import ask
from energyctl.exits import ProblemError
from energyctl.render import Answer
from energyctl.session import Session, session

WAIT_S_MAX: Final = 0.3
"""A person waits behind the key: what is not known by then is not completed."""
WORDS_MAX: Final = 500
SINGLES: Final = Path("/var/cache/energy-market/singles")
WORKERS: Final = Path("/var/cache/energy-market/workers")
"""Left by energy-prepare: the homes that are units of their own."""
PLACE: Final = Path(__file__).parents[1] / "completion"


class Shell(StrEnum):
    """A shell that we have a completion for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


class Source(StrEnum):
    """Words that are asked for when they are needed."""

    HOMES = "homes"
    SINGLES = "singles"
    KINDS = "kinds"
    ACTIVE_KINDS = "active-kinds"
    UNITS = "units"


FILES: Final = {Shell.BASH: "energyctl.bash", Shell.ZSH: "_energyctl", Shell.FISH: "energyctl.fish"}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("completion")(completion)


def completion(
    ctx: typer.Context,
    shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="Whose completion.")],
    *,
    words: Annotated[Source | None, typer.Option("--words", hidden=True)] = None,
    prefix: Annotated[str, typer.Option("--prefix", hidden=True)] = "",
) -> Answer:
    """Print the completion for a shell; an installed suite has them all, this is for other installations.

    In bash, for now: eval "$(energyctl completion bash)"; for good, put it into
    ~/.local/share/bash-completion/completions/energyctl.

    In zsh, put it into a file _energyctl in a directory that is in $fpath before compinit runs.

    In fish, put it into ~/.config/fish/completions/energyctl.fish.
    """
    if words is not None:
        found = [word for word in _words(session(ctx), words, prefix) if word.startswith(prefix)][:WORDS_MAX]
        return Answer({"type": "words", "words": found}, tuple(found))
    text = (PLACE / FILES[shell]).read_text("utf-8")
    return Answer({"type": "completion", "shell": str(shell), "text": text}, (text.rstrip("\n"),))


def _words(here: Session, source: Source, prefix: str) -> list[str]:
    """Words of a kind; none from a market that is down or slow, because nobody reads errors behind a key."""
    match source:
        case Source.SINGLES:
            return _numbers(SINGLES)
        case Source.UNITS:
            homes = [f"energy-home@{number}.service" for number in _numbers(SINGLES)]
            workers = [f"energy-worker@{number}.service" for number in _numbers(WORKERS)]
            return [*systemd.ALL, "energy-backup.service", "energy-backup.timer", *workers, *homes]
        case Source.HOMES:
            total = _asked(here, "Homes", {"first": 1, "count": 1}).get("total", 0)
            return [word for word in map(str, range(1, int(total) + 1)) if word.startswith(prefix)]
        case Source.KINDS:
            return list(_asked(here, "Events").get("kinds", ()))
        case Source.ACTIVE_KINDS:
            return sorted({str(row["kind"]) for row in _asked(here, "Events").get("active", ())})
        case _:
            assert_never(source)


def _numbers(file: Path) -> list[str]:
    try:
        return file.read_text("ascii").split()
    except (OSError, UnicodeDecodeError):
        return []  # there is no suite here, or nothing of this kind is a unit


def _asked(here: Session, method: str, parameters: dict[str, int] | None = None) -> dict[str, Any]:
    try:
        return ask(here, method, parameters, timeout_s=WAIT_S_MAX)
    except ProblemError:
        return {}
