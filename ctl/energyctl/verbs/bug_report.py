"""`energyctl bug-report`: what a maintainer needs to see, in one file that its owner may read first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from energyctl.exits import Exit, ProblemError
from energyctl.quantities import utc
from energyctl.render import Answer, Block, Table
from energyctl.session import session
from energymarket.runtime.clock import wall_ns

LINES: int = 1000


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("bug-report")(bug_report)


def bug_report(
    ctx: typer.Context,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="Where it goes: a new .tar.gz."),
    ] = None,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, max=100_000, help="So many lines of the journal.")
    ] = LINES,
) -> Answer:
    """Collect versions, states, journal, configuration and findings in one file, without secrets.

    It works with the daemons down and without systemd, and says what it left out. Nothing is sent anywhere.
    """
    from energyctl import evidence

    moment = utc(wall_ns())
    path = out or Path(f"energy-market-bug-report-{moment.replace(':', '').replace('-', '')}.tar.gz")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ProblemError(
            Exit.FAILED, "exists", f"{path} is there already", hint="-o FILE names another place"
        ) from None
    try:
        report = evidence.collect(session(ctx), moment, lines)
        report.write(descriptor, path.name.removesuffix(".gz").removesuffix(".tar"))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    data = {
        "type": "bug_report",
        "file": str(path),
        "parts": sorted(report.parts),
        "left_out": report.left_out,
        "redacted": report.redacted,
    }
    blocks: list[Block] = [
        f"written: {path} ({path.stat().st_size >> 10} KiB, only you may read it)",
        f"{len(report.parts)} parts, {report.redacted} secrets taken out",
        f"look before you send it: tar tzf {path}",
    ]
    if report.left_out:
        rows = list(report.left_out.items())
        blocks.append(Table(("left out", "because"), rows))
    return Answer(data, tuple(blocks))
