"""`energyctl install-units --user`: the suite's units for your own service manager, without root."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from energyctl import systemd, user_units
from energyctl.exits import Exit, ProblemError
from energyctl.keeper import TARGET, users_configuration, users_units
from energyctl.render import Answer
from energyctl.verbs.start import USER


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("install-units")(install_units)


def install_units(
    *,
    user: Annotated[bool, USER] = False,
    enable: Annotated[bool, typer.Option("--enable", help="Start it with every login.")] = False,
    show: Annotated[bool, typer.Option("--print", help="Print the units and write nothing.")] = False,
) -> Answer:
    """Write the suite's units for your own service manager; they are not started."""
    only_users(user=user)
    units = user_units.made(user_units.place(os.environ), systemd.version())
    if show:
        texts = [f"# {name}\n{text}" for name, text in units.items()]
        return Answer({"type": "units", "units": units}, ("\n".join(texts).rstrip("\n"),))
    root = users_units(os.environ)
    foreign = [name for name in units if _is_foreign(root / name)]
    if foreign:
        raise ProblemError(
            Exit.FAILED,
            "not_ours",
            f"these units were not made by energyctl: {', '.join(foreign)}",
            f"they are in {root}",
            "move them away, then again",
        )
    config = _configuration()
    for name, text in units.items():
        _write(root / name, text)
    for path in ours(root):
        if str(path.relative_to(root)) not in units:
            path.unlink()
    lines = [f"{len(units)} units in {root}", *([f"configuration: {config}"] if config else [])]
    lines += _told(enable=enable)
    data = {"type": "units_installed", "directory": str(root), "units": list(units), "enabled": enable}
    return Answer({**data, "configuration": str(config) if config else None}, tuple(lines))


def only_users(*, user: bool) -> None:
    """The system's units are packaging's business."""
    if not user:
        raise ProblemError(
            Exit.USAGE,
            "usage",
            "say --user: only the units of your own service manager are made here",
            hint="sudo packaging/install puts the system's in place, packaging/uninstall takes them away",
        )


def ours(root: Path) -> list[Path]:
    """The files of a unit directory that were made here."""
    found = [path for pattern in ("energy*", "energy*.d/*") for path in root.glob(pattern) if path.is_file()]
    return [path for path in found if not _is_foreign(path)]


def _is_foreign(path: Path) -> bool:
    try:
        return not path.read_text(encoding="utf-8", errors="replace").startswith(user_units.MARK)
    except FileNotFoundError:
        return False


def _configuration() -> Path | None:
    """The configuration is made where there is none; an edited one is never touched."""
    from energymarket.scenario import toml

    path = users_configuration(os.environ)
    if path.exists():
        return None
    _write(path, toml.default_text())
    return path


def _write(path: Path, text: str) -> None:
    """As a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _told(*, enable: bool) -> list[str]:
    """Tell the manager, if one is here, and say what comes next."""
    if not systemd.answers(user=True):
        return ["your service manager does not answer here: log in, then systemctl --user daemon-reload"]
    systemd.order(["daemon-reload"], user=True)
    if enable:
        systemd.order(["enable", "--quiet", TARGET], user=True)
    start = [] if enable else ["with every login:  energyctl install-units --user --enable"]
    return ["start it:          energyctl start --user", *start, "without a login:   loginctl enable-linger"]
