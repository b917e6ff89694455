"""Fast-forward for Python: a scenario in, a result with arrays out.

import energymarket

result = energymarket.simulate("default", duration="7d", homes=200)
print(result.ledger_hash, result.document["energy"])
print(result.slots["price_ueur_per_kwh"].mean() / 1e6, "€/kWh")
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from energymarket.engine import joining
from energymarket.engine.folder import Folder
from energymarket.engine.result import Result, document_of
from energymarket.engine.run import Noted, Plan, Run, Told, quiet, unnoted
from energymarket.engine.singly import needed_by
from energymarket.exits import ConfigError, Exit, Failure
from energymarket.runtime import memory
from energymarket.runtime.clock import boottime_ns
from energymarket.scenario import toml
from energymarket.scenario.compile import CompileError, compile_scenario, with_overrides
from energymarket.scenario.compiled import SLOTS_MAX, Compiled, CompiledError, load

if TYPE_CHECKING:
    from energymarket.core.parameters import Period
    from energymarket.scenario.schema import Scenario

ENGINES: Final = ("embedded", "local", "ray")

_SECONDS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 365 * 86_400}


def slots_of(duration: str | int | None, compiled: Compiled) -> int:
    """`96` slots, `12h`, `7d`, `1y` (365 days); None is the scenario's own period. Failure if it is none."""
    return slots_in(duration, compiled.period)


def slots_in(duration: str | int | None, period: Period) -> int:
    """`slots_of` a scenario that is not compiled yet."""
    if duration is None:
        return period.slots
    text = str(duration)
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(s|min|h|d|w|y)", text)
    if found is not None:
        slots = int(-(-float(found[1]) * _SECONDS[found[2]] // period.slot_s))
    elif re.fullmatch(r"[0-9]{1,9}", text):
        slots = int(text)
    else:
        slots = 0
    if slots < 1:
        raise Failure(
            f"{text!r} is no duration",
            "a number of slots, or a number with s, min, h, d, w or y: 96, 12h, 7d, 1y",
            Exit.USAGE,
        )
    if slots > SLOTS_MAX:
        raise Failure(f"{text!r} is {slots:,} slots", f"a run has {SLOTS_MAX:,} slots at most", Exit.USAGE)
    return slots


def compiled_of(scenario: Scenario | str | Path | Compiled, homes: int | None, seed: int | None) -> Compiled:
    """A scenario, by name, file or as it is, compiled. ConfigError with all that is wrong with it."""
    if isinstance(scenario, Compiled):
        return scenario
    if isinstance(scenario, str | Path):
        found, problems = toml.read(str(scenario))
        if found is None:
            raise ConfigError(toml.render_problems(problems))
        scenario = found
    try:
        return load(compile_scenario(with_overrides(scenario, homes, seed)))
    except (CompileError, CompiledError) as error:
        raise ConfigError(str(error)) from error


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def plan_of(
    compiled: Compiled,
    folder: Folder,
    *,
    duration: str | int | None = None,
    engine: str | None = None,
    shards: int | None = None,
    workers: int | None = None,
    address: str | None = None,
    compares: bool = False,
) -> Plan:
    """A plan with everything decided that was left open. Failure (USAGE) for an unknown engine.

    `shards` of the engine ray may stay open, as 0: how many processors a cluster has shows when it is joined.
    """
    if engine is not None and engine not in ENGINES:
        raise Failure(f"there is no engine {engine!r}", f"engines: {', '.join(ENGINES)}", Exit.USAGE)
    if engine is None:
        engine = "local" if cores() > 1 else "embedded"
    if address is not None and engine != "ray":
        hint = "--engine ray --address HOST:PORT, or no address"
        raise Failure(f"an address of a Ray cluster for the engine {engine}", hint, Exit.USAGE)
    if engine == "local" and needed_by(compiled):
        engine = "embedded"  # scenes and single orders are settled in order, by the market itself
    workers = 1 if engine == "embedded" else (workers or cores())
    service = compiled.settings.get("service", {})
    return Plan(
        compiled=compiled,
        slots=slots_of(duration, compiled),
        directory=folder.run,
        engine=engine,
        shards=shards or (0 if engine == "ray" else workers),
        workers=workers,
        address=address,
        compares=compares,
        disk_max_bytes=service.get("retention", {}).get("disk_max_bytes", 2 << 30),
    )


def play(
    plan: Plan,
    folder: Folder,
    *,
    resume: bool = False,
    told: Told = quiet,
    stopping: Callable[[], bool] = lambda: False,
    noted: Noted = unnoted,
) -> dict[str, Any]:
    """Play a plan into its folder, which is held; the document. What was interrupted stays unfinished."""
    memory.keep_freed_memory()
    began_ns, began_cpu_s = boottime_ns(), _cpu_s()

    def result() -> dict[str, Any]:
        wall_s = (boottime_ns() - began_ns) / 1e9
        return document_of(run, engine=plan.engine, wall_s=wall_s, cpu_s=_cpu_s() - began_cpu_s)

    def leave() -> None:
        toml = plan.compiled.directory / "scenario.toml"
        if toml.is_file():
            shutil.copyfile(toml, folder.run / "scenario.toml")
        folder.mark(plan.compiled.name)
        folder.write_result(result())

    run = Run(plan, resume=resume)
    try:
        run.go(told, stopping, noted, leave)
        document = result()
    finally:
        run.close()
    folder.write_result(document)  # with the time that it took to the end
    if document["complete"]:
        folder.take_place()
    return document


def _cpu_s() -> float:
    """CPU time of this process and of its workers that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def simulate(
    scenario: Scenario | str | Path | Compiled = "default",
    *,
    duration: str | int | None = None,
    homes: int | None = None,
    seed: int | None = None,
    engine: str | None = None,
    shards: int | None = None,
    workers: int | None = None,
    address: str | None = None,
    compares: bool = False,
    out: str | Path | None = None,
) -> Result:
    """Run a scenario forward and return its result.

    `duration` is a number of slots or `12h`, `7d`, `1y`; without it the scenario's own period is played.
    With `compares` the document says what each home would pay under every sharing rule (`sharing`).
    `engine="ray"` plays with actors (`shards` of them), on this machine or on the cluster whose head is at
    `address` (HOST:PORT); the document's `ray` says where, and who was lost and replaced.
    The ledger lies in `out`, or in a temporary directory that goes with the result. The result's hash does
    not depend on engine, shards or workers. Failure (or ConfigError) says what cannot be.
    """
    if engine == "ray":
        joining.foresee(address)
    compiled = compiled_of(scenario, homes, seed)
    slots_of(duration, compiled)  # refused before anything is made
    place = Path(tempfile.mkdtemp(prefix="energy-market-")) if out is None else Path(out)
    folder = Folder(place)
    plan = plan_of(
        compiled,
        folder,
        duration=duration,
        engine=engine,
        shards=shards,
        workers=workers,
        address=address,
        compares=compares,
    )
    try:
        with folder.held():
            if folder.is_played():
                folder.take_place()
            folder.clear()
            document = play(plan, folder)
    except BaseException:
        if out is None:
            shutil.rmtree(place, ignore_errors=True)
        raise
    result = Result(document, place, compiled)
    if out is None:
        weakref.finalize(result, shutil.rmtree, place, ignore_errors=True)
    return result
