"""A compiled scenario on disk: parameters and settings as JSON, arrays as NumPy files, one hash over all."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from energymarket.core.parameters import (
    Excess,
    Period,
    PriceModel,
    Rule,
    Sharing,
    Take,
    Tariff,
    Turn,
    price_model_from,
)
from energymarket.core.weather import WEATHER, Samples, impossible

SCHEMA: Final = 1
"""Raised whenever a reader of an older one would misread the files."""

SCHEMA_RULES: Final = 2
"""Of files with another sharing rule than the queue: who does not know rules must not read them."""

JSON_NAME: Final = "scenario.json"
TOML_NAME: Final = "scenario.toml"
HOMES_MAX: Final = 1 << 24  # memory: about 100 bytes of static columns for each home
SLOTS_MAX: Final = 4_000_000  # as many as a list in a scenario file may have

Array = npt.NDArray[Any]


class CompiledError(Exception):
    """A compiled scenario that cannot be used; the text says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A scenario ready to run. Arrays are memory-mapped and cannot be written.

    `weather` is an array of WEATHER, one sample per slot of the period. Every array of `homes` has
    one value per home; those of `tables` have their shapes and units in `packaging/doc`. Beyond the
    period, tables and weather repeat: see `table_row`.
    """

    name: str
    title: str
    seed: int
    hash: str
    homes_count: int
    sharing: Sharing
    price: PriceModel
    tariff: Tariff
    period: Period
    settings: Mapping[str, Any]
    weather: Samples
    homes: Mapping[str, Array]
    tables: Mapping[str, Array]
    directory: Path

    def table_row(self, slot: int) -> int:
        """The row of a slot in the weather and in tables with a row per slot."""
        return (slot - self.period.first_slot) % self.period.slots

    def import_export_at(self, slot: int) -> tuple[int, int]:
        """What the grid asks and pays in a slot, in µ€/kWh (unless the tariff follows the price)."""
        columns = (self.tables.get("import_ueur_per_kwh"), self.tables.get("export_ueur_per_kwh"))
        flat = (self.tariff.import_ueur_per_kwh, self.tariff.export_ueur_per_kwh)
        if columns[0] is None and columns[1] is None:
            return flat
        row = self.table_row(slot)
        asked, paid = (
            value if column is None else int(column[row]) for column, value in zip(columns, flat, strict=True)
        )
        return asked, paid

    def key_weights(self) -> npt.NDArray[np.int64] | None:
        """Each home's weight in the static key; None where all are the same."""
        column = self.homes.get("key_weight")
        return None if column is None else np.asarray(column, np.int64)

    def forget_pages(self) -> None:
        """Give back the memory of what was read of the homes' columns; they stay readable, from the files."""
        for column in self.homes.values():
            mapped: object = column.base
            if isinstance(mapped, mmap.mmap):
                mapped.madvise(mmap.MADV_DONTNEED)

    def verify(self) -> None:
        """Read every array and compare it with the hash in the JSON; CompiledError if one differs."""
        noted = _read_json(self.directory)["arrays"]
        for file in sorted(noted):
            array = _open_array(self.directory, file, noted[file])
            if array_hash(array) != noted[file]["sha256"]:
                raise CompiledError(
                    f"{self.directory / file} was changed after it was compiled\ncompile the scenario again"
                )


def canonical(data: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys and no blanks: the same data gives the same bytes everywhere."""
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def array_hash(array: Array) -> str:
    """SHA-256 over an array's bytes in C order; shape and type stand in the JSON."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def scenario_hash(data: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON without its own `hash`. The arrays' hashes stand inside."""
    return hashlib.sha256(canonical({key: value for key, value in data.items() if key != "hash"})).hexdigest()


def save(
    directory: Path,
    head: Mapping[str, Any],
    weather: Samples,
    homes: Mapping[str, Array],
    tables: Mapping[str, Array],
) -> str:
    """Write a compiled scenario into an empty directory and return its hash.

    `head` holds name, title, seed, sharing, price, tariff, period (dataclasses of core.parameters)
    and settings.
    """
    arrays = {"weather.npy": weather}
    arrays |= {f"homes.{name}.npy": array for name, array in homes.items()}
    arrays |= {f"table.{name}.npy": array for name, array in tables.items()}
    noted = {}
    for file, array in sorted(arrays.items()):
        if array.dtype.byteorder == ">":
            raise CompiledError(f"{file} is not little-endian")
        np.save(directory / file, array, allow_pickle=False)
        noted[file] = {
            "type": _type_name(array.dtype),
            "shape": list(array.shape),
            "sha256": array_hash(array),
        }
    sharing = cast("Sharing", head["sharing"])
    data: dict[str, Any] = {
        "schema": SCHEMA if sharing.rule is Rule.QUEUE else SCHEMA_RULES,
        "name": head["name"],
        "title": head["title"],
        "seed": head["seed"],
        "homes_count": len(next(iter(homes.values()))),
        "sharing": _plain(sharing),
        "price": asdict(cast("PriceModel", head["price"])),
        "tariff": asdict(cast("Tariff", head["tariff"])),
        "period": asdict(cast("Period", head["period"])),
        "settings": head["settings"],
        "arrays": noted,
    }
    data["hash"] = scenario_hash(data)
    (directory / JSON_NAME).write_bytes(
        json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
    )
    return cast("str", data["hash"])


def _plain(sharing: Sharing) -> dict[str, Any]:
    """The default rule is not named: scenarios from before there were rules keep their hash."""
    plain = asdict(sharing)
    return plain if sharing.rule is not Rule.QUEUE else {k: v for k, v in plain.items() if k != "rule"}


def load(directory: Path | str) -> Compiled:
    """Open a compiled scenario; the arrays stay on disk until they are read.

    CompiledError if the directory holds none, one of another schema, one whose JSON does not agree
    with its hash, or arrays of other shapes than stated. `Compiled.verify` reads the arrays too.
    """
    directory = Path(directory)
    data = _read_json(directory)
    try:
        arrays = {file: _open_array(directory, file, noted) for file, noted in data["arrays"].items()}
        compiled = _assembled(directory, data, arrays)
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        raise CompiledError(
            f"{directory / JSON_NAME} lacks something ({problem!r})\ncompile the scenario again"
        ) from problem
    _check(compiled)
    return compiled


def carried(compiled: Compiled) -> tuple[bytes, dict[str, Array]]:
    """A scenario without its files: the JSON and the arrays, for `unpacked` elsewhere. CompiledError."""
    head = canonical(_read_json(compiled.directory))
    arrays: dict[str, Array] = {"weather.npy": np.asarray(compiled.weather)}
    arrays |= {f"homes.{name}.npy": np.asarray(array) for name, array in compiled.homes.items()}
    arrays |= {f"table.{name}.npy": np.asarray(array) for name, array in compiled.tables.items()}
    return head, {file: array.view(np.ndarray) for file, array in arrays.items()}


def unpacked(head: bytes, arrays: Mapping[str, Array], expected_hash: str) -> Compiled:
    """A scenario from what `carried` answered; its `directory` is none. Reads every array.

    CompiledError if hash, JSON and arrays do not belong together.
    """
    data = cast("dict[str, Any]", json.loads(head))
    if not data.get("hash") == scenario_hash(data) == expected_hash:
        raise CompiledError("the scenario that has arrived is not the one that was sent: its JSON differs")
    for file, noted in data["arrays"].items():
        if file not in arrays or array_hash(arrays[file]) != noted["sha256"]:
            raise CompiledError(f"the scenario that has arrived is not the one that was sent: {file} differs")
    compiled = _assembled(Path(os.devnull), data, dict(arrays))
    _check(compiled)
    return compiled


def files_of(directory: Path) -> set[str]:
    """The names of the files that make up a compiled scenario, as its JSON says. Raises CompiledError."""
    arrays = _read_json(directory).get("arrays")
    if not isinstance(arrays, dict):
        raise CompiledError(f"{directory / JSON_NAME} lists no arrays\ncompile the scenario again")
    return {JSON_NAME, TOML_NAME, *arrays}


def _assembled(directory: Path, data: dict[str, Any], arrays: dict[str, Array]) -> Compiled:
    price, sharing = data["price"], data["sharing"]
    return Compiled(
        name=data["name"],
        title=data["title"],
        seed=data["seed"],
        hash=data["hash"],
        homes_count=data["homes_count"],
        sharing=Sharing(
            Take(sharing["take"]),
            Turn(sharing["turn"]),
            Excess(sharing["excess"]),
            Rule(sharing.get("rule", Rule.QUEUE)),
        ),
        price=price_model_from(price),
        tariff=Tariff(**data["tariff"]),
        period=Period(**data["period"]),
        settings=data["settings"],
        weather=arrays["weather.npy"],
        homes=_named(arrays, "homes."),
        tables=_named(arrays, "table."),
        directory=directory,
    )


def _named(arrays: dict[str, Array], prefix: str) -> dict[str, Array]:
    return {
        file[len(prefix) : -len(".npy")]: array for file, array in arrays.items() if file.startswith(prefix)
    }


def _check(compiled: Compiled) -> None:
    period, where = compiled.period, compiled.directory
    if not 1 <= period.slots <= SLOTS_MAX or period.slot_s < 1 or period.speed < 0 or period.first_slot < 0:
        raise CompiledError(f"{where}: the period is impossible: {period}")
    if not 1 <= compiled.homes_count <= HOMES_MAX:
        raise CompiledError(f"{where}: {compiled.homes_count} homes, 1 .. {HOMES_MAX} are possible")
    if compiled.weather.dtype != WEATHER or compiled.weather.shape != (period.slots,):
        raise CompiledError(f"{where}: the weather has not one sample for each of {period.slots} slots")
    if wrong := impossible(compiled.weather):
        raise CompiledError(f"{where}: impossible weather ({', '.join(wrong)})")
    for name, column in compiled.homes.items():
        if column.shape != (compiled.homes_count,):
            raise CompiledError(f"{where}: homes.{name} has shape {column.shape}, not one value per home")


def _read_json(directory: Path) -> dict[str, Any]:
    path = directory / JSON_NAME
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CompiledError(
            f"no compiled scenario in {directory}\nenergy-scenario compile NAME makes one"
        ) from None
    except OSError as problem:
        raise CompiledError(f"{path} cannot be read: {problem.strerror}") from problem
    except ValueError as problem:
        raise CompiledError(f"{path} is no JSON: {problem}") from problem
    if not isinstance(data, dict) or data.get("schema") not in {SCHEMA, SCHEMA_RULES}:
        found = data.get("schema") if isinstance(data, dict) else None
        raise CompiledError(
            f"{path} has schema {found}, this program reads {SCHEMA} and {SCHEMA_RULES}\n"
            "compile the scenario again"
        )
    if data.get("hash") != scenario_hash(data):
        raise CompiledError(
            f"{path} does not agree with its hash: it was changed by hand\ncompile the scenario again"
        )
    return cast("dict[str, Any]", data)


def _open_array(directory: Path, file: str, noted: Mapping[str, Any]) -> Array:
    path = directory / file
    try:
        if 0 in noted["shape"]:  # an empty array cannot be mapped
            array = np.load(path, allow_pickle=False)
        else:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as problem:
        raise CompiledError(f"{path} cannot be read: {problem}\ncompile the scenario again") from problem
    if list(array.shape) != noted["shape"] or _type_name(array.dtype) != noted["type"]:
        raise CompiledError(f"{path} holds {array.dtype} {array.shape}, not what was compiled")
    return cast("Array", array)


def _type_name(kind: np.dtype[Any]) -> str:
    return "WEATHER" if kind == WEATHER else kind.str
