"""The table of a study: a row per case, as Parquet with typed columns, and as CSV."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from energymarket.exits import ConfigError
from energymarket.studies.columns import Column, columns_of

if TYPE_CHECKING:
    from energymarket.studies.axes import Case
    from energymarket.studies.outcome import Outcome, Value
    from energymarket.studies.reading import Plan

_TYPES: Final = {"int": "int64", "float": "float64", "text": "string"}


def has_parquet() -> bool:
    """Whether something here writes Parquet."""
    return importlib.util.find_spec("pyarrow") is not None


def require_parquet() -> None:
    """ConfigError if nothing here writes Parquet: said before anything is played."""
    if not has_parquet():
        hint = "pip install 'energy-market[study]' brings it; --csv does without"
        raise ConfigError("nothing here writes Parquet: pyarrow is not installed", hint)


def rows_of(plan: Plan, outcomes: Mapping[int, Outcome]) -> list[dict[str, Value]]:
    """The cases that were played, in their order: a value per column, None where there is none."""
    names = [column.name for column in columns_of(plan.axes)]
    return [
        {name: found.get(name) for name in names}
        for case in plan.cases
        if case.number in outcomes
        for found in [_row(plan, case, outcomes[case.number])]
    ]


def _row(plan: Plan, case: Case, outcome: Outcome) -> dict[str, Value]:
    shown = {axis.column: _typed(axis.kind, value) for axis, value in zip(plan.axes, case.shown, strict=True)}
    status = {"case": case.number, "status": "done" if outcome.is_done else "failed"}
    return {**status, **shown, **outcome.values, "error": outcome.error or None}


def _typed(kind: str, value: Value) -> Value:
    if kind == "text":
        return str(value)
    return float(value) if kind == "float" and isinstance(value, int) else value


def parquet(plan: Plan, rows: Sequence[Mapping[str, Value]], facts: Mapping[str, Any]) -> bytes:
    """The table as Parquet: meanings stand in the metadata of each column, facts in that of the file."""
    pyarrow = importlib.import_module("pyarrow")
    columns = columns_of(plan.axes)
    fields = [
        pyarrow.field(
            column.name,
            getattr(pyarrow, _TYPES[column.kind])(),
            nullable=_may_be_null(column),
            metadata={"meaning": column.meaning},
        )
        for column in columns
    ]
    about = {"energy-market.study": json.dumps(facts, ensure_ascii=False, sort_keys=True)}
    schema = pyarrow.schema(fields, metadata=about)
    arrays = [
        pyarrow.array([row[column.name] for row in rows], type=each.type)
        for column, each in zip(columns, fields, strict=True)
    ]
    sink = io.BytesIO()
    table = pyarrow.Table.from_arrays(arrays, schema=schema)
    importlib.import_module("pyarrow.parquet").write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _may_be_null(column: Column) -> bool:
    return column.name not in {"case", "status"}


def as_csv(plan: Plan, rows: Sequence[Mapping[str, Value]]) -> bytes:
    """The same as CSV (RFC 4180, UTF-8): what is not known is empty."""
    text = io.StringIO()
    names = [column.name for column in columns_of(plan.axes)]
    writer = csv.DictWriter(text, names, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
