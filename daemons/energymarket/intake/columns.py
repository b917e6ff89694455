"""What the columns of a file mean: by their names, or by what the command line says of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from energymarket.exits import ConfigError, Failure
from energymarket.intake import vocabulary
from energymarket.intake.quantities import HOME_ROLES, Role
from energymarket.scenario.problems import did_you_mean


class Unit(StrEnum):
    """Of an energy or a mean power over the interval."""

    W = "W"
    KW = "kW"
    WH = "Wh"
    KWH = "kWh"

    @property
    def is_power(self) -> bool:
        """Whether it has to be multiplied by the interval's length."""
        return self in {Unit.W, Unit.KW}

    def wh(self, step_s: int) -> float:
        """Wh of one of it: of a power, over an interval of `step_s`."""
        kilo = 1e3 if self in {Unit.KW, Unit.KWH} else 1.0
        return kilo * (step_s / 3600.0 if self.is_power else 1.0)


@dataclass(frozen=True, slots=True)
class Column:
    """A column that is read: where it stands, whose it is, what it measures, in which unit (None: unsaid)."""

    index: int
    name: str
    home: str
    role: Role
    unit: Unit | None
    scale: float = 1.0  # of prices and intensities, to €/kWh and g/kWh


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file's columns are. `home` is the column of homes in the long form, None in the wide one."""

    time: tuple[int, ...]  # one column, or date and time of day
    home: int | None
    columns: tuple[Column, ...]
    ignored: tuple[str, ...]  # known, not needed
    unknown: tuple[str, ...]  # not understood
    calendar: tuple[int, int] | None = None  # month and hour of a year without dates
    day_type: int | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says of the columns. Patterns hold {home} where a column's name has the home."""

    time: str | None = None
    home: str | None = None
    roles: Mapping[Role, str] | None = None
    unit: Unit | None = None


_PARTS: Final = re.compile(r"[^\W\d_]+|\d+")


def unit_of(name: str) -> tuple[str, Unit | None]:
    """A column's name without the unit at its end, and the unit: load1_kwh, Last [kW], energy(kWh/hh)."""
    found = re.search(r"(?:^|[\s_(\[/])(kwh|wh|kw|w)(?:/hh)?[)\]]?\s*$", name, re.IGNORECASE)
    if found is None or found.start() == 0:
        return name.strip(), None
    unit = next(unit for unit in Unit if unit.lower() == found[1].lower())
    return name[: found.start()].strip(" _([/"), unit


def layout_of(path: str, header: tuple[str, ...], wishes: Wishes) -> Layout:
    """What the columns are. A Failure says what cannot be told, and which option tells it."""
    plain = [name.strip().lower().replace(" ", "_") for name in header]
    time, calendar = _times(path, header, plain, wishes)
    home = _home_column(path, header, plain, wishes, set(time))
    taken = {*time, *(calendar or ()), *(() if home is None else (home,))}
    columns = _wished(path, header, wishes, home, taken)
    if not columns:
        columns = _by_name(header, plain, taken, wishes.unit)
        if not columns:
            columns = _whole_columns(header, plain, taken, wishes.unit)
    columns += _shared(header, plain, taken | {column.index for column in columns})
    if not any(column.role in HOME_ROLES for column in columns):
        raise ConfigError(
            f"{path}: no column of a load or a plant among {', '.join(header)}",
            "--load NAME, or --load 'load{home}_kwh' with {home} where the home's name stands; see also "
            "--pv, --net, --import, --export",
        )
    _check_twice(path, columns)
    left = [index for index in range(len(header)) if index not in taken | {c.index for c in columns}]
    ignored = tuple(header[index] for index in left if vocabulary.IGNORED.fullmatch(plain[index]))
    unknown = tuple(header[index] for index in left if not vocabulary.IGNORED.fullmatch(plain[index]))
    day_type = plain.index("day_type") if "day_type" in plain else None
    return Layout(time, home, tuple(columns), ignored, unknown, calendar, day_type)


def _place(path: str, header: tuple[str, ...], name: str, option: str) -> int:
    if name in header:
        return header.index(name)
    raise ConfigError(
        f'{path} has no column "{name}" ({option})',
        did_you_mean(name, header) or f"it has {', '.join(header[:12])}{' ...' * (len(header) > 12)}",
    )


def _times(
    path: str, header: tuple[str, ...], plain: list[str], wishes: Wishes
) -> tuple[tuple[int, ...], tuple[int, int] | None]:
    if wishes.time is not None:
        if wishes.time in header:
            return (header.index(wishes.time),), None
        parts = wishes.time.split("+")
        return tuple(_place(path, header, part.strip(), "--time-column") for part in parts), None
    for known in (vocabulary.TIMES - vocabulary.TIMES_OF_DAY, vocabulary.TIMES):
        found = [index for index, name in enumerate(plain) if name in known]
        if found and not (
            plain[found[0]] in vocabulary.TIMES_OF_DAY and any(name in vocabulary.DATES for name in plain)
        ):
            return (found[0],), None
    dates = [index for index, name in enumerate(plain) if name in vocabulary.DATES]
    clocks = [index for index, name in enumerate(plain) if name in vocabulary.TIMES_OF_DAY]
    if dates and clocks:
        return (dates[0], clocks[0]), None
    if dates:
        return (dates[0],), None
    if "month" in plain and "hour" in plain:
        return (), (plain.index("month"), plain.index("hour"))
    raise ConfigError(
        f"{path}: no column of times among {', '.join(header[:12])}",
        "--time-column NAME, or --time-column DATE+TIME where date and time of day stand apart",
    )


def _home_column(
    path: str, header: tuple[str, ...], plain: list[str], wishes: Wishes, taken: set[int]
) -> int | None:
    if wishes.home is not None:
        return _place(path, header, wishes.home, "--home-column")
    found = [index for index, name in enumerate(plain) if name in vocabulary.HOMES and index not in taken]
    return found[0] if found else None


def _wished(
    path: str, header: tuple[str, ...], wishes: Wishes, home: int | None, taken: set[int]
) -> list[Column]:
    columns: list[Column] = []
    for role, pattern in (wishes.roles or {}).items():
        option = f"--{role.replace('_', '-')}"
        if role not in HOME_ROLES:
            index = _place(path, header, pattern, f"{option}-column")
            columns.append(Column(index, header[index], "", role, None, _shared_scale(header[index])))
            continue
        if "{home}" not in pattern:
            index = _place(path, header, pattern, option)
            columns.append(Column(index, pattern, "", role, unit_of(pattern)[1] or wishes.unit))
            continue
        if home is not None:
            raise ConfigError(
                f'{option} "{pattern}": the homes stand in column "{header[home]}"', "leave {home} out"
            )
        before, _, after = pattern.partition("{home}")
        expression = re.compile(f"{re.escape(before)}(.+?){re.escape(after)}", re.IGNORECASE)
        found = [
            (i, m[1]) for i, name in enumerate(header) if i not in taken and (m := expression.fullmatch(name))
        ]
        if not found:
            raise ConfigError(
                f'{path}: no column is called as "{pattern}" ({option})',
                f"it has {', '.join(header[:12])}{' ...' * (len(header) > 12)}",
            )
        columns += [
            Column(i, header[i], name, role, unit_of(header[i])[1] or wishes.unit) for i, name in found
        ]
    homes = [column for column in columns if column.role in HOME_ROLES]
    return columns if homes else []


def _role_of(name: str) -> tuple[Role, str] | None:
    """Role and home that a name without unit says: pv7, home 7 load, DE_KN_residential1_grid_import."""
    code = vocabulary.OBIS.search(name)
    if code is not None:
        before = [word for word in _PARTS.findall(name[: code.start()]) if not word.isdigit()]
        home = "_".join(word for word in before if word.lower() not in vocabulary.FILL)
        return (Role.IMPORT if code[1] == "1" else Role.EXPORT), home
    words = _PARTS.findall(name)
    for role, known in vocabulary.QUANTITIES.items():
        marks = [word for word in words if word.lower() in known]
        if marks:
            rest = [word for word in words if word not in marks and word.lower() not in vocabulary.FILL]
            return role, "_".join(rest)
    return None


def _by_name(header: tuple[str, ...], plain: list[str], taken: set[int], unit: Unit | None) -> list[Column]:
    columns = []
    for index, name in enumerate(header):
        if (
            index in taken
            or vocabulary.IGNORED.fullmatch(plain[index])
            or _shared_role(plain[index]) is not None
        ):
            continue
        bare, named = unit_of(name)
        found = _role_of(bare)
        if found is None and bare.lower() in {"kwh", "wh", "kw", "w", "value", "wert"}:
            found = (Role.LOAD, "")
            named = named or next((each for each in Unit if each.lower() == bare.lower()), None)
        if found is not None:
            columns.append(Column(index, name, found[1], found[0], named or unit))
    return columns


def _whole_columns(
    header: tuple[str, ...], plain: list[str], taken: set[int], unit: Unit | None
) -> list[Column]:
    """No name says what it measures: each column is the load of a home of that name."""
    columns = []
    for index, name in enumerate(header):
        if (
            index in taken
            or not name
            or vocabulary.IGNORED.fullmatch(plain[index])
            or _shared_role(plain[index])
        ):
            continue
        bare, named = unit_of(name)
        columns.append(Column(index, name, bare, Role.LOAD, named or unit))
    return columns


def _shared_role(plain: str) -> Role | None:
    return next((role for role, pattern in vocabulary.PLACE.items() if pattern.fullmatch(plain)), None)


def _shared(header: tuple[str, ...], plain: list[str], taken: set[int]) -> list[Column]:
    columns: list[Column] = []
    for index, name in enumerate(header):
        role = (
            None
            if index in taken or vocabulary.IGNORED.fullmatch(plain[index])
            else _shared_role(plain[index])
        )
        if role is not None and role not in {column.role for column in columns}:
            columns.append(Column(index, name, "", role, None, _shared_scale(name)))
    return columns


def _shared_scale(name: str) -> float:
    """Of prices and intensities to €/kWh and g/kWh, by what the name says: kg, ct or MWh."""
    words = {word.lower() for word in _PARTS.findall(name)}
    if "kg" in words:
        return 1.0 if "mwh" in words else 1e3
    if words & {"ct", "cent", "cents"}:
        return 0.01
    return 1e-3 if "mwh" in words else 1.0


def _check_twice(path: str, columns: list[Column]) -> None:
    seen: dict[tuple[str, Role], Column] = {}
    for column in columns:
        before = seen.setdefault((column.home, column.role), column)
        if before is not column:
            whose = f'of home "{column.home}"' if column.home else "of the only home"
            raise Failure(
                f'{path}: columns "{before.name}" and "{column.name}" are both the {column.role} {whose}',
                f"--{column.role} NAME or a pattern with {{home}} says which one is meant",
            )
