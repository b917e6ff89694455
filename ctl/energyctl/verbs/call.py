"""`energyctl call`: any method of the market, with raw JSON in and out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from energyctl.asking import ask, follow
from energyctl.exits import Exit, ProblemError
from energyctl.render import Answer, to_json
from energyctl.session import Session, session


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("call")(call)


def call(
    ctx: typer.Context,
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="A method of io.energymarket.Control, or a full name.")
    ],
    parameters: Annotated[
        str, typer.Argument(metavar="[JSON]", help="Its parameters, as a JSON object.")
    ] = "{}",
    *,
    more: Annotated[bool, typer.Option("--more", help="Take replies as long as they come.")] = False,
) -> Answer | Iterator[Answer]:
    """Call a method of the market's control socket, with raw JSON; for example `energyctl call Status`.

    All methods, as the market describes them: energyctl call
    org.varlink.service.GetInterfaceDescription '{"interface": "io.energymarket.Control"}'
    """
    given = _parameters(parameters)
    if more:
        return _replies(session(ctx), method, given)
    return _answer(ask(session(ctx), method, given))


def _parameters(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
        json.dumps(given, allow_nan=False)  # 1e999 is infinite
    except (ValueError, RecursionError) as error:
        raise ProblemError(
            Exit.USAGE,
            "bad_parameters",
            "the parameters are no JSON",
            str(error),
            """for example '{"last": 4}'""",
        ) from error
    if not isinstance(given, dict):
        raise ProblemError(
            Exit.USAGE, "bad_parameters", "the parameters are no JSON object", hint="""for example '{}'"""
        )
    return given


def _replies(here: Session, method: str, given: dict[str, Any]) -> Iterator[Answer]:
    for reply in follow(here, method, given):
        yield _answer(reply)


def _answer(reply: dict[str, Any]) -> Answer:
    return Answer(reply, (to_json(reply),))
