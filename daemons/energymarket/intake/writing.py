"""Writes the result of an import beside its place and renames it: it is there whole, or not at all."""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from energymarket.exits import Exit, Failure
from energymarket.intake.framing import utc_text
from energymarket.intake.quantities import Role
from energymarket.intake.reading import Told
from energymarket.intake.scenario_text import FILE, Placing, scenario_text
from energymarket.intake.survey import Survey
from energymarket.intake.telling import json_text, markdown_of

WRITTEN: Final = (FILE, "quality.json", "quality.md", "repairs.csv", "scenario.toml")
_PLACE: Final = {
    Role.TARIFF: "import_eur_per_kwh",
    Role.FEED_IN: "export_eur_per_kwh",
    Role.CARBON: "co2_g_per_kwh",
}
_UNITS: Final = {str(Role.TARIFF): "€/kWh", str(Role.FEED_IN): "€/kWh", str(Role.CARBON): "g/kWh"}
_DECIMALS: Final = 6  # of prices: a millionth of a euro


def check_place(out: Path, *, force: bool) -> None:
    """Refuse a directory that is in the way, before any work; with `force`, one that is no import's."""
    if not out.parent.is_dir():
        raise Failure(
            f"{out.parent}: no such directory", "make it first, or choose another --out", Exit.NO_SUCH_OBJECT
        )
    if not os.path.lexists(out):
        return
    if out.is_symlink() or not out.is_dir():
        raise Failure(f"{out} is in the way: it is no directory", "choose another --out")
    if not any(out.iterdir()):
        return
    strange = sorted(each.name for each in out.iterdir() if each.name not in WRITTEN)
    if force and strange:
        raise Failure(
            f"{out} holds {strange[0]}, which no import has written: it is not replaced",
            "choose another --out",
        )
    if not force:
        raise Failure(f"{out} is there already", "--force replaces it, --out DIR writes another one")


def write(survey: Survey, placing: Placing, out: Path, told: Told, *, force: bool) -> None:
    """Write all files of an import. What was there stays until all of it is on the disk."""
    check_place(out, force=force)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-draft-", dir=out.parent))
    try:
        _write_homes(draft / FILE, survey, told)
        _write_repairs(draft / "repairs.csv", survey)
        (draft / "scenario.toml").write_text(scenario_text(survey, placing), encoding="utf-8")
        (draft / "quality.md").write_text(markdown_of(survey), encoding="utf-8")
        (draft / "quality.json").write_text(json_text(survey), encoding="utf-8")
        for file in draft.iterdir():
            _sync(file)
        draft.chmod(0o777 & ~_umask())
        _sync(draft)
        _exchange(draft, out)
        _sync(out.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(draft: Path, out: Path) -> None:
    """Put the draft in its place. An older result is moved aside first and removed last."""
    if not out.is_dir():
        draft.rename(out)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
    out.rename(aside / out.name)
    try:
        draft.rename(out)
    except OSError:
        (aside / out.name).rename(out)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_homes(path: Path, survey: Survey, told: Told) -> None:
    frame = survey.homes.frame
    names, columns = ["time"], [[utc_text(second) for second in frame.times_s().tolist()]]
    for kind, table in (("load", survey.load_wh), ("pv", survey.pv_wh)):
        for index in range(table.shape[1]):
            if kind == "load" or np.any(table[:, index]):
                names.append(f"{kind}{index + 1}_wh")
                columns.append(list(map(str, table[:, index].tolist())))
        told("writing", index + 1, 2 * table.shape[1])
    for role, name in _PLACE.items():
        if role in survey.homes.place:
            names.append(name)
            columns.append([f"{value:.{_DECIMALS}f}" for value in survey.homes.place[role].tolist()])
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(",".join(names) + "\n")
        file.writelines(",".join(row) + "\n" for row in zip(*columns, strict=True))


def _write_repairs(path: Path, survey: Survey) -> None:
    texts = survey.quality.texts
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("home", "quantity", "time", "was", "now", "unit", "why", "estimated"))
        for change in survey.quality.changes:
            estimated = "yes" if change.cause.estimated else "no"
            unit = _UNITS.get(change.quantity, "Wh")
            for second, was, now in zip(
                change.time_s.tolist(), change.was_wh.tolist(), change.now_wh.tolist(), strict=True
            ):
                there = texts.get((change.home, change.quantity, second), "") if was != was else _number(was)  # noqa: PLR0124
                writer.writerow(
                    (
                        change.home,
                        change.quantity,
                        utc_text(second),
                        there,
                        _number(now),
                        unit,
                        change.cause,
                        estimated,
                    )
                )


def _number(value: float) -> str:
    return "" if value != value else f"{value:.{_DECIMALS}f}".rstrip("0").rstrip(".")  # noqa: PLR0124
