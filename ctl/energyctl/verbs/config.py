"""`energyctl config`: checks a scenario file in the daemons' own words, and prints it resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from energyctl.exits import Exit, RefusedError
from energyctl.quantities import price, span
from energyctl.render import Answer

if TYPE_CHECKING:
    from energymarket.scenario.toml import Scenario


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Check and print scenario files.", no_args_is_help=True, rich_markup_mode=None)
    group.callback()(_config)
    group.command("check")(check)
    group.command("show")(show)
    group.command("default")(default)
    app.add_typer(group, name="config")


def _config() -> None:
    """Check and print scenario files."""


_FILE = typer.Argument(metavar="[FILE|NAME]", help="A file, or the name of a shipped scenario.")


def check(file: Annotated[str, _FILE] = "default") -> Answer:
    """Check a file: every problem with its line (exit code 78); for a good one, how stable its price is."""
    from energymarket.scenario import toml

    scenario, problems = toml.read(file)
    if scenario is None:
        listed = [
            {"file": p.file, "line": p.line, "path": p.path, "message": p.message, "hint": p.hint}
            for p in problems
        ]
        data = {"type": "config", "file": file, "ok": False, "problems": listed}
        return Answer(data, (toml.render_problems(problems),), Exit.CONFIGURATION)
    facts, lines = _stability(scenario)
    homes = f"{scenario.title}: {scenario.homes_count} homes"
    return Answer(
        {"type": "config", "file": file, "ok": True, "stability": facts}, (f"{file}: good. {homes}", *lines)
    )


def show(file: Annotated[str, _FILE] = "default") -> Answer:
    """Print a file with every default written out, as the daemons will see it."""
    from energymarket.scenario import toml

    text = toml.show(good_scenario(file))
    return Answer({"type": "config", "file": file, "toml": text}, (text.rstrip("\n"),))


def default() -> Answer:
    """Print the default configuration, every key with its meaning: the beginning of a file of your own."""
    from energymarket.scenario import toml

    text = toml.default_text()
    return Answer({"type": "config", "file": "default", "toml": text}, (text.rstrip("\n"),))


def good_scenario(file: str) -> Scenario:
    """The scenario, or its problems in the daemons' own words (exit code 78)."""
    from energymarket.scenario import toml

    scenario, problems = toml.read(file)
    if scenario is None:
        raise RefusedError(toml.render_problems(problems))
    return scenario


def _stability(scenario: Scenario) -> tuple[dict[str, float], list[str]]:
    """Half-life, steady range and closed-loop gain: how the price behaves when it is left alone."""
    from energymarket.scenario import resolve

    model, slot_s = scenario.market.price, scenario.market.period.slot_s
    found = resolve.analyse(model, scenario.elasticity, scenario.market.tariff)
    facts = {
        "half_life_slots": found.half_life_slots,
        "half_life_s": found.half_life_slots * slot_s,
        "steady_min_ueur_per_kwh": found.steady_min_ueur_per_kwh,
        "steady_max_ueur_per_kwh": found.steady_max_ueur_per_kwh,
        "steady_calm_ueur_per_kwh": found.steady_calm_ueur_per_kwh,
        "closed_loop_gain": found.closed_loop_gain,
        "rounding_ueur_per_kwh": found.rounding_ueur_per_kwh,
    }
    low, high, calm = (
        price(round(value))
        for value in (
            found.steady_min_ueur_per_kwh, found.steady_max_ueur_per_kwh, found.steady_calm_ueur_per_kwh
        )
    )  # fmt: skip
    bounds = f"floor {price(model.floor_ueur_per_kwh)}, cap {price(model.cap_ueur_per_kwh)}"
    return facts, [
        f"  half-life         {found.half_life_slots:.4g} slots ({span(found.half_life_slots * slot_s)})",
        f"  steady price      {low} to {high} €/kWh, {calm} when calm; {bounds}",
        f"  closed-loop gain  {found.closed_loop_gain:+.4g} (its size is below 1: stable)",
    ]
