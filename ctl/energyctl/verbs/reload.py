"""`energyctl reload`: the market reads its coefficients again, or says what is wrong with them."""

from __future__ import annotations

from typing import Annotated

import typer

from energyctl.asking import ask
from energyctl.awaiting import OVER, Snapshot, Watching
from energyctl.exits import Exit, ProblemError
from energyctl.quantities import finite, price
from energyctl.render import Answer
from energyctl.session import session
from energyctl.verbs.start import USER


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("reload")(reload)


def reload(
    ctx: typer.Context,
    *,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when the first slot has opened at the new coefficients.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", min=0.0, callback=finite, metavar="S", help="With --wait: not longer than so."
        ),
    ] = None,
    user: Annotated[bool, USER] = False,
) -> Answer:
    """Let the market read its coefficients again; a file with a mistake changes nothing (exit code 78).

    When this returns they are durable, also without --wait: a market that dies now comes back with them.
    """
    if timeout is not None and not wait:
        raise ProblemError(
            Exit.USAGE, "usage", "--timeout bounds --wait", hint="energyctl reload --wait --timeout S"
        )
    here = session(ctx).of(user=user)
    reply = ask(here, "Reload")
    changed, later = reply.get("changed") or [], reply.get("needs_restart") or []
    from_slot = reply.get("from_slot")
    first = f"from slot {from_slot} on" if from_slot is not None else "from the next slot on"
    nothing = "no coefficient has changed" if later else "nothing has changed"
    lines = [f"changed {first}: {', '.join(changed)}" if changed else nothing]
    if later:
        lines.append(f"differs, but takes another ledger: {', '.join(later)}")
    data = {"type": "reloaded", **reply}
    if wait and changed and from_slot is not None:
        what = f"slot {from_slot} opens at the new coefficients"
        try:
            snapshot = Watching(here, timeout).until(lambda seen: _in_force(seen, from_slot), what)
        except ProblemError as problem:
            raise _changed_all_the_same(problem, lines[0]) from problem
        now = snapshot.get("open_price_ueur_per_kwh", snapshot.get("price_ueur_per_kwh", 0))
        lines.append(f"in force: slot {from_slot} is open at {price(now)} €/kWh")
        data |= {"in_force": True, "open_price_ueur_per_kwh": now}
    return Answer(data, tuple(lines))


def _changed_all_the_same(problem: ProblemError, changed: str) -> ProblemError:
    """Only the waiting has failed: whoever reads that must not take the coefficients for the old ones."""
    if problem.exit_code is not Exit.WAIT_TIMED_OUT:
        return problem
    why = f"the coefficients are durable all the same ({changed}); {problem.why}"
    return ProblemError(problem.exit_code, problem.name, problem.message, why, problem.hint)


def _in_force(snapshot: Snapshot, from_slot: int) -> bool:
    if snapshot.get("phase") in OVER:
        raise ProblemError(
            Exit.TRY_AGAIN,
            "over",
            f"the market has {snapshot['phase']} before slot {from_slot}",
            "the new coefficients are durable: they price the first slot after its next start",
            "energyctl status",
        )
    return any(
        isinstance(at, int) and at >= from_slot for at in (snapshot.get("open_slot"), snapshot.get("slot"))
    )
