"""The types of request that there are: every file with a `REQUEST`, of this package and of a directory."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Final

from energymarket import requests
from energymarket.exits import ConfigError
from energymarket.requests.kind import RequestType

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
"""What clients can say in one word, whatever the case of their keyboard."""


def known_types(further: Path | None = None) -> Mapping[str, RequestType]:
    """All types by name; `further` is a directory with more of such files. ConfigError if one is no type."""
    found: dict[str, RequestType] = {}
    for path, module in _modules(further):
        kind = getattr(module, "REQUEST", None)
        if kind is None and path.parent != further:
            continue  # of this package: the interface, or what a type is made of
        if not isinstance(kind, RequestType):
            raise ConfigError(f"{path}: has no REQUEST of RequestType", "see energymarket/requests/kind.py")
        if not NAME.fullmatch(kind.name):
            raise ConfigError(f"{path}: {kind.name!r} is no name of a request type", NAME.pattern)
        if kind.name in found:
            raise ConfigError(f"{path}: there is another request type {kind.name}", "rename one of them")
        found[kind.name] = kind
    return dict(sorted(found.items()))


def _modules(further: Path | None) -> Iterator[tuple[Path, ModuleType]]:
    for info in pkgutil.iter_modules(requests.__path__):
        module = importlib.import_module(f"{requests.__name__}.{info.name}")
        yield Path(str(module.__file__)), module
    if further is None:
        return
    if not further.is_dir():
        raise ConfigError(f"{further}: is no directory of request types", "leave --types out, or make it")
    for path in sorted(further.glob("*.py")):
        yield path, _loaded(path)


def _loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{requests.__name__}.further.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: cannot be loaded", "is it a file of Python?")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (ImportError, SyntaxError, NameError) as problem:
        raise ConfigError(f"{path}: {problem}", "repair or remove this file") from problem
    return module
