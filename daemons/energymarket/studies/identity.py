"""What a study is: its file, its scenario with all data files, and the program. Two of them compared."""

from __future__ import annotations

import hashlib
import json
import platform
import tomllib
from typing import TYPE_CHECKING, Any

import numpy as np

from energymarket import __version__
from energymarket.scenario.cache import COMPILER, data_files, source_hash

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from energymarket.studies.reading import Plan

_MISSING = object()


def identity_of(plan: Plan) -> dict[str, Any]:
    """All that decides what the cases come to, as JSON has it."""
    said = {
        "study": plan.said,
        "scenario": tomllib.loads(plan.base.text),
        "data": {path.name: _hash_of(path) for path in data_files(plan.base)},
        "scenario_name": plan.base.name,
        "versions": {"energy-market": __version__, "compiler": COMPILER},
    }
    found: dict[str, Any] = json.loads(json.dumps(said, default=str))
    return found


def facts_of(plan: Plan) -> dict[str, Any]:
    """What else a reader wants to know of a study."""
    return {
        "title": plan.study.title,
        "file": plan.path,
        "scenario_source_hash": source_hash(plan.base),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
    }


def _hash_of(path: Any) -> str:  # noqa: ANN401 - a pathlib.Path
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "cannot be read"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Where two identities differ, each as one line: what it was and what it is."""
    old, new = dict(_leaves(before, ())), dict(_leaves(now, ()))
    found = []
    for place in [*old, *(place for place in new if place not in old)]:
        was, is_ = old.get(place, _MISSING), new.get(place, _MISSING)
        if was != is_:
            found.append(f"{_words(place)}: {_shown(was)} before, {_shown(is_)} now")
    return found


def _leaves(value: object, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """Values with their places; a list of plain values is one."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _leaves(each, (*place, name))
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for at, each in enumerate(value):
            yield from _leaves(each, (*place, at))
    else:
        yield place, value


def _words(place: tuple[str | int, ...]) -> str:
    whose = {
        "study": "the study's",
        "scenario": "the scenario's",
        "data": "the data file",
        "versions": "version of",
    }
    first = whose.get(str(place[0]), str(place[0]))
    rest = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place[1:])
    return f"{first} {rest.removeprefix('.')}".strip()


def _shown(value: object) -> str:
    if value is _MISSING:
        return "absent"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."
