"""`energyctl ipc`: the System V objects of a run, listed and, after a crash, removed."""

from __future__ import annotations

import typer

from energyctl.programs import run_program
from energyctl.render import Answer
from energyctl.session import Session, session


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        help="List the kernel's IPC objects of a run, or remove leftovers.", no_args_is_help=True
    )
    group.callback()(_ipc)
    group.command("ls")(list_objects)
    group.command("clean")(clean)
    app.add_typer(group, name="ipc")


def _ipc() -> None:
    """List the kernel's IPC objects of a run, or remove leftovers."""


def list_objects(ctx: typer.Context) -> int:
    """Show queue, semaphores and shared memory of the run directory, and whether they are there."""
    return run_program("anchor", ["list", *_where(session(ctx))])


def clean(ctx: typer.Context) -> Answer:
    """Remove what a crash has left: processes, IPC objects, sockets. A live market is left alone."""
    from energyctl.up import prepare, record

    here = session(ctx)
    run = here.run_dir
    if not run.exists():
        return Answer({"type": "cleaned", "removed": []}, (f"nothing to clean: there is no {run}",))
    # The lock is the proof that no supervisor lives.
    hold = record.hold(run)
    try:
        removed = record.kill_leftovers(run)
        if (run / "ipc.json").exists():
            prepare.anchor(run, "remove")
            removed.append("IPC objects")
        removed += [name for name in record.clear(run, keep=(record.LOCK,)) if name != record.LOCK]
    finally:
        hold.release()
    text = f"removed: {', '.join(removed)}" if removed else "nothing was left"
    return Answer({"type": "cleaned", "removed": removed}, (text,))


def _where(here: Session) -> list[str]:
    return ["--run", str(here.run_dir), *(["--json"] if here.as_json else [])]
