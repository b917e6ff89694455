"""The scenario compiler: a scenario in, a directory of arrays out; made once, kept by its content's hash.

Importing this module costs nothing: the libraries of the field are imported when there is work.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energymarket.core.limits import HOMES_MAX
from energymarket.scenario.cache import cache_directory, locate, source_hash
from energymarket.scenario.compile_errors import CompileError
from energymarket.scenario.compile_memo import Memo, climate
from energymarket.scenario.schema import Scenario

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from energymarket.scenario.compile_community import Community
    from energymarket.scenario.compile_days import HouseDays
    from energymarket.scenario.compile_heat import Heat
    from energymarket.scenario.compile_homes import HomesCompiler
    from energymarket.scenario.compile_weather import Sky
    from energymarket.scenario.homes_schema import Group, Home

__all__ = ["CompileError", "Progress", "cache_directory", "compile_scenario", "locate", "with_overrides"]

Progress = Callable[[str, float], None]
"""Told what is being done, and which part of the work is done (0 .. 1)."""


def silent(stage: str, done: float) -> None:
    """A progress that says nothing."""
    del stage, done


def compile_scenario(scenario: Scenario, progress: Progress = silent, memo: Memo | None = None) -> Path:
    """Compile a scenario, or find it compiled, and return its directory.

    The directory is written beside its place and renamed: it is there whole or not at all. Two who
    compile the same at once both succeed. CompileError says what cannot be compiled.
    """
    found = locate(scenario)
    if found is not None:
        return found
    root = cache_directory()
    try:
        root.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=root))
    except OSError as problem:
        raise CompileError(f"{root} cannot be written ({problem.strerror}); set XDG_CACHE_HOME") from problem
    try:
        compile_into(draft, scenario, progress, memo)
        return _settle(draft, root / source_hash(scenario))
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _settle(draft: Path, place: Path) -> Path:
    draft.chmod(0o755)
    for file in draft.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    with contextlib.suppress(OSError):  # somebody was faster: theirs is the same
        draft.rename(place)
    if not (place / "scenario.json").is_file():
        raise CompileError(f"{place} is in the way: it holds no compiled scenario; remove it")
    return place


def compile_into(
    directory: Path, scenario: Scenario, progress: Progress = silent, memo: Memo | None = None
) -> str:
    """Compile a scenario into an empty directory, whatever the cache holds; its hash.

    With a memo, what an earlier scenario had in common with this one is not made again. A scenario by hand,
    with constant weather and loads and without roofs, needs none of the libraries of the field.
    """
    try:
        return _compiled_into(directory, scenario, progress, memo or Memo())
    except ImportError as problem:
        raise CompileError(
            f"nothing here can compile it: {problem.name} is not installed\n"
            "packaging/install --compiler (or pip install 'energy-market[compiler]') brings it"
        ) from problem


def _compiled_into(directory: Path, scenario: Scenario, progress: Progress, memo: Memo) -> str:
    from energymarket.scenario import compile_heat, compile_weather, compiled
    from energymarket.scenario.compile_community import community_of
    from energymarket.scenario.compile_settings import carbon_tables, settings_of, tariff_tables

    same = climate(scenario)
    progress("data set", 0.0)
    community = memo.of("data set", same, lambda: community_of(scenario))
    progress("weather and sun", 0.05)
    use_weather = scenario.data is not None and scenario.data.use_weather
    measured = community.hours if community is not None and use_weather else None
    sky = memo.of("sky", same, lambda: compile_weather.sky_of(scenario, measured))
    progress("load archetypes", 0.2)
    tables, days, persons = _loads(scenario, sky, memo)
    progress("homes", 0.5)
    homes = _homes(scenario, community, persons, compile_heat.Heat(sky, scenario.market.period))
    tables |= _standard_loads(scenario, homes, tables["load_wh"])
    tables["heat_shape"] = _heat_shape(scenario, days)
    progress("roofs and turbines", 0.6)
    tables |= _plants(scenario, sky, homes, memo)
    tables |= homes.series.tables()
    tables |= tariff_tables(scenario, community)
    tables |= carbon_tables(scenario, community)
    progress("writing", 0.9)
    (directory / compiled.TOML_NAME).write_text(scenario.text, encoding="utf-8")
    head: dict[str, Any] = {
        "name": scenario.name,
        "title": scenario.title,
        "seed": scenario.seed,
        "sharing": scenario.market.sharing,
        "price": scenario.market.price,
        "tariff": scenario.market.tariff,
        "period": scenario.market.period,
        "settings": settings_of(scenario, sky, homes),
    }
    done = compiled.save(directory, head, sky.samples, homes.columns, tables)
    progress("done", 1.0)
    return done


def _loads(
    scenario: Scenario, sky: Sky, memo: Memo
) -> tuple[dict[str, npt.NDArray[Any]], HouseDays | None, npt.NDArray[np.int64]]:
    """Archetypes, if any home is a household; reference days also where heat pumps need their shape."""
    import numpy as np

    from energymarket.scenario.homes_schema import LoadKind

    period = scenario.market.period
    owners: list[Home | Group] = [*scenario.homes, *scenario.groups]
    households = any(owner.load is not None and owner.load.kind is LoadKind.HOUSEHOLD for owner in owners)
    heated = any(owner.heat_pump is not None for owner in owners)
    days = None
    if households or heated:
        from energymarket.scenario.compile_days import house_days, local_year

        days = memo.of(
            "days", climate(scenario), lambda: house_days(local_year(period), sky, scenario.weather.region)
        )
    if not households or days is None:
        return {"load_wh": np.zeros((period.slots, 0), np.float32)}, days, np.zeros(0, np.int64)
    from energymarket.scenario.compile_days import local_year
    from energymarket.scenario.compile_loads import archetypes

    known = days
    made = memo.of(
        "archetypes",
        (climate(scenario), repr(scenario.load), scenario.seed),
        lambda: archetypes(scenario.load, known, local_year(period), period, scenario.seed),
    )
    return {"load_wh": made.load_wh}, days, made.persons


def _homes(
    scenario: Scenario, community: Community | None, persons: npt.NDArray[np.int64], heat: Heat
) -> HomesCompiler:
    from energymarket.scenario.compile_homes import HomesCompiler

    homes = HomesCompiler(scenario, persons, heat)
    homes.compile(community)
    return homes


def _standard_loads(
    scenario: Scenario, homes: HomesCompiler, load_wh: npt.NDArray[np.float32]
) -> dict[str, npt.NDArray[np.float32]]:
    """The archetypes and, after them, the standard load profiles that clusters use."""
    import numpy as np

    if not homes.profiles:
        return {"load_wh": load_wh}
    from energymarket.scenario.compile_days import local_year, slot_energy_wh, standard_profile
    from energymarket.scenario.compile_loads import quantised_wh

    period = scenario.market.period
    year = local_year(period)
    begin_s = year.seconds_of(period)
    columns = [
        quantised_wh(slot_energy_wh(standard_profile(year, name), 900.0, begin_s, period.slot_s))
        for name in homes.profiles
    ]
    return {"load_wh": np.concatenate([load_wh, np.stack(columns, axis=1)], axis=1)}


def _heat_shape(scenario: Scenario, days: HouseDays | None) -> npt.NDArray[np.float32]:
    import numpy as np

    from energymarket.scenario.compile_heat import heat_shape

    if days is None:
        return np.ones(86_400 // scenario.market.period.slot_s, np.float32)
    return heat_shape(days, scenario.market.period)


def _plants(
    scenario: Scenario, sky: Sky, homes: HomesCompiler, memo: Memo
) -> dict[str, npt.NDArray[np.float32]]:
    from energymarket.scenario.compile_solar import Lit, roof_factors, without_roofs
    from energymarket.scenario.compile_weather import sun_over
    from energymarket.scenario.compile_wind import expected_power

    roofs = homes.catalogue.all_roofs()
    lit = memo.of("roofs", climate(scenario), Lit)
    slots = scenario.market.period.slots
    factors = roof_factors(roofs, sky.steps, sun_over(sky), slots, lit) if roofs else without_roofs(slots)
    return {
        "pv_beam": factors.beam,
        "pv_sky": factors.sky,
        "pv_ground": factors.ground,
        "wind_curve_w": expected_power(homes.catalogue.all_sites()),
    }


def with_overrides(scenario: Scenario, homes: int | None, seed: int | None) -> Scenario:
    """The scenario with another number of homes in its groups, or another seed. May raise CompileError."""
    if homes is not None and homes != scenario.homes_count:
        scenario = with_homes(scenario, homes)
    if seed is not None:
        scenario = replace(scenario, seed=seed, market=replace(scenario.market, seed=seed))
    return scenario


def with_homes(scenario: Scenario, count: int) -> Scenario:
    """The same scenario with another number of homes in its groups, in the same proportions."""
    if count > HOMES_MAX:
        raise CompileError(f"{scenario.name} cannot have {count} homes: {HOMES_MAX} are the most")
    fixed = scenario.homes_count - sum(group.count for group in scenario.groups)
    wanted = count - fixed
    if not scenario.groups or wanted < len(scenario.groups):
        raise CompileError(
            f"{scenario.name} cannot have {count} homes: {fixed} are written by hand or measured, "
            f"and each of its {len(scenario.groups)} groups keeps one"
        )
    before = sum(group.count for group in scenario.groups)
    counts = [max(1, group.count * wanted // before) for group in scenario.groups]
    while sum(counts) > wanted:
        counts[counts.index(max(counts))] -= 1
    for index in range(wanted - sum(counts)):
        counts[index % len(counts)] += 1
    groups = tuple(replace(group, count=each) for group, each in zip(scenario.groups, counts, strict=True))
    return replace(scenario, groups=groups, homes_count=count)
