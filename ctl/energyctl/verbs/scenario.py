"""`energyctl scenario`: the shipped scenarios, and their compilation into arrays."""

from __future__ import annotations

from typing import Annotated

import typer

from energyctl.programs import run_program
from energyctl.render import Answer, Table
from energyctl.session import session

_NAME = typer.Argument(metavar="[SCENARIO]", help="A shipped scenario, or a file.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="List, show and compile scenarios.", no_args_is_help=True, rich_markup_mode=None)
    group.callback()(_scenario)
    group.command("list")(list_scenarios)
    group.command("show")(show)
    group.command("compile", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
        compile_it
    )
    app.add_typer(group, name="scenario")


def _scenario() -> None:
    """List, show and compile scenarios."""


def list_scenarios() -> Answer:
    """Show the scenarios that come with the program: name, homes, title."""
    from energymarket.scenario import toml

    rows, documents = [], []
    for name in toml.shipped():
        found, _ = toml.read(name)
        if found is None:
            continue
        rows.append((name, str(found.homes_count), found.title))
        documents.append({"name": name, "homes": found.homes_count, "title": found.title})
    return Answer(
        {"type": "scenarios", "scenarios": documents}, (Table(("scenario", ">homes", "title"), rows),)
    )


def show(name: Annotated[str, _NAME] = "default") -> Answer:
    """Print a scenario with every default written out."""
    from energyctl.verbs import config

    return config.show(name)


def compile_it(ctx: typer.Context, name: Annotated[str, _NAME] = "default") -> int:
    """Compile a scenario into arrays; one that is compiled already is only found.

    `energyctl up` does it by itself. Further options go to energy-scenario compile: --homes N, --seed S.
    """
    return run_program(
        "scenario", ["compile", name, *ctx.args, *(["--json"] if session(ctx).as_json else [])]
    )
