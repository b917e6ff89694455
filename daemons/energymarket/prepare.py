"""energy-prepare: checks the suite's configuration and compiles what it names, before any daemon starts.

The configuration is a scenario file. What a start needs to know of it is left in one directory:

    scenario        link to the compiled scenario, which the daemons read
    pool            is there if homes live in the pool
    singles         numbers of the homes that are processes of their own, one per line
    live-weather    is there if the weather is fetched
    workers         numbers of the workers of the dispatcher, one per line

Units ask for these files by ConditionPathExists=.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from energymarket.archive.exchange import refuse_unfinished
from energymarket.exits import ConfigError, Exit
from energymarket.runtime import service
from energymarket.scenario import compiled as compiling
from energymarket.scenario import likeness, toml
from energymarket.scenario.cache import precompiled_directory
from energymarket.scenario.compile import CompileError, compile_scenario
from energymarket.scenario.opening import metered_homes
from energymarket.transport.store import LedgerStore, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from energymarket.scenario.compiled import Compiled
    from energymarket.scenario.schema import Scenario

PROGRAM: Final = "energy-prepare"
LINK: Final = "scenario"
RESET_HINT: Final = "put the old configuration back, or begin anew: energyctl reset --state"


def prepare(config: Path, out: Path, state: Path | None) -> Compiled:
    """Check, compile (or find compiled) and leave what a start needs. ConfigError with all that is wrong."""
    scenario, problems = toml.read(str(config))
    if scenario is None:
        raise ConfigError(toml.render_problems(problems))
    if state is not None:
        refuse_unfinished(state)
    in_use = _in_use(out)
    ledger_hash = None if state is None else _ledger_hash(state / "market" / "ledger.db")
    if in_use is not None and in_use.hash == ledger_hash and _differs_by_price_only(in_use, scenario):
        compiled = in_use  # coefficients are no reason to begin a ledger anew: a reload brings them
    else:
        try:
            compiled = compiling.load(compile_scenario(scenario))
        except (CompileError, compiling.CompiledError) as problem:
            raise ConfigError(f"{config}: {problem}") from problem
    if ledger_hash not in {None, compiled.hash}:
        raise ConfigError(f"{config}: the ledger in {state} was begun with another scenario", RESET_HINT)
    _leave(out, compiled, scenario.dispatch.workers)
    return compiled


def _in_use(out: Path) -> Compiled | None:
    """The scenario of the last start, if it is still there and whole.

    After an upgrade the version that is installed carries it too, and the one it was found in goes away.
    """
    path = (out / LINK).resolve()
    carried = precompiled_directory() / path.name
    try:
        return compiling.load(carried if carried.is_dir() else path)
    except compiling.CompiledError:
        return None


def _ledger_hash(path: Path) -> str | None:
    """The scenario that a ledger belongs to; None where there is no ledger, or none that can be read.

    A ledger that cannot be read is the market's to refuse: its words say more.
    """
    if not path.exists():
        return None
    store = LedgerStore(path)
    try:
        store.open_read_only()
        return store.meta("scenario_hash")
    except StoreError:
        return None
    finally:
        store.close()


def _differs_by_price_only(in_use: Compiled, scenario: Scenario) -> bool:
    """Whether the file says what is in use, but for what a reload can change."""
    text = (in_use.directory / compiling.TOML_NAME).read_text(encoding="utf-8")
    before, _ = toml.parse(text, scenario.path)
    return before is not None and likeness.same_but_for_the_price(before, scenario)


def _leave(out: Path, compiled: Compiled, workers: int) -> None:
    single = np.flatnonzero(np.asarray(compiled.homes["single"]))
    _mark(out / "pool", "homes live in the pool\n" if len(single) < compiled.homes_count else None)
    _mark(out / "singles", "".join(f"{at + 1}\n" for at in single.tolist()) or None)
    _mark(out / "live-weather", "the weather is fetched\n" if compiled.settings["weather"]["live"] else None)
    _mark(out / "metered", "homes live by meters\n" if metered_homes(compiled) else None)
    _mark(out / "workers", "".join(f"{number}\n" for number in range(1, workers + 1)) or None)
    draft = out / f".{LINK}.{os.getpid()}"
    draft.symlink_to(compiled.directory.resolve())
    draft.replace(out / LINK)


def _mark(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(text, encoding="ascii")


def _words(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(PROGRAM, description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="the suite's configuration"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where to leave what a start needs"
    )
    parser.add_argument("--state", type=Path, metavar="DIR", help="ledger and registers to go on with")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare; the answer is an exit code."""
    words = _words(arguments)

    def serve(_stop: service.StopFlag) -> int:
        compiled = prepare(words.config, words.out, words.state)
        sys.stdout.write(f"{compiled.title}: {compiled.homes_count} homes, {compiled.directory}\n")
        return Exit.OK

    return service.run(PROGRAM, serve)


if __name__ == "__main__":
    sys.exit(main())
