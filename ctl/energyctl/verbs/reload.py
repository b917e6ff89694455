"""`energyctl reload`: the market reads its coefficients again, or says what is wrong with them."""

from __future__ import annotations

from typing import Annotated

import typer

from energyctl.asking import ask
from energyctl.render import Answer
from energyctl.session import session
from energyctl.verbs.start import USER


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("reload")(reload)


def reload(ctx: typer.Context, *, user: Annotated[bool, USER] = False) -> Answer:
    """Let the market read its coefficients again; a file with a mistake changes nothing (exit code 78)."""
    reply = ask(session(ctx).of(user=user), "Reload")
    changed, later = reply.get("changed") or [], reply.get("needs_restart") or []
    lines = [f"changed from the next slot on: {', '.join(changed)}" if changed else "nothing has changed"]
    if later:
        lines.append(f"differs, but takes another ledger: {', '.join(later)}")
    return Answer({"type": "reloaded", **reply}, tuple(lines))
