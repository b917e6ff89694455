"""The quality report: the same facts as lines for a terminal, as Markdown, and as a JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from energymarket.intake.faults import Cause, Fault, Finding
from energymarket.intake.framing import utc_text
from energymarket.intake.quantities import Role
from energymarket.intake.survey import Survey

_HOMES_SHOWN = 12
_SPANS_SHOWN = 3


def document_of(survey: Survey) -> dict[str, Any]:
    """All of it, for programs; energies in Wh over the whole period, times in UTC."""
    frame = survey.homes.frame
    load, pv = survey.load_wh.sum(axis=0).tolist(), survey.pv_wh.sum(axis=0).tolist()
    homes = zip(survey.homes.names, survey.homes.metered, load, pv, strict=True)
    return {
        "type": "imported",
        "source": str(survey.path),
        "timezone": survey.zone.key,
        "begin": utc_text(frame.start_s),
        "end": utc_text(frame.start_s + frame.count * frame.step_s),
        "resolution_s": survey.step_s,
        "slot_s": frame.step_s,
        "slots": frame.count,
        "homes": [
            {"number": number, "name": name, "measured": measured, "load_wh": load_wh, "pv_wh": pv_wh}
            for number, (name, measured, load_wh, pv_wh) in enumerate(homes, 1)
        ],
        "findings": [finding.document() for finding in survey.quality.findings],
        "changed": survey.quality.counts(),
        "notes": survey.quality.notes,
    }  # fmt: skip


def lines_of(survey: Survey) -> list[str]:
    """The report for a terminal: what it is, what was found, what was changed."""
    lines = [_head(survey), ""]
    lines += [f"  {note}" for note in survey.quality.notes]
    lines += ["", *_found(survey, "  "), "", *_changed(survey, "  ")]
    return lines


def _head(survey: Survey) -> str:
    frame = survey.homes.frame
    load, pv = int(survey.load_wh.sum()) / 1e3, int(survey.pv_wh.sum()) / 1e3
    begin, end = utc_text(frame.start_s), utc_text(frame.start_s + frame.count * frame.step_s)
    homes = len(survey.homes.names)
    return (
        f"{survey.path.name}: {homes} home{'s' * (homes != 1)}, {frame.count:,} slots of "
        f"{_span(frame.step_s)} from {begin} to {end}, "
        f"load {load:,.1f} kWh, PV {pv:,.1f} kWh"
    )


def _span(seconds: int) -> str:
    for length, unit in ((3600, "h"), (60, "min")):
        if seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _found(survey: Survey, indent: str) -> list[str]:
    if not survey.quality.findings:
        return ["nothing was found that is wrong"]
    lines, fault = ["found:"], None
    for finding, homes in alike(survey.quality.findings):
        if finding.fault is not fault:
            lines.append(f"{indent}{finding.fault}: {finding.fault.meaning}")
        fault = finding.fault
        lines.append(f"{indent}  {_where(finding, homes)}{finding.text}")
    return lines


def alike(findings: Iterable[Finding]) -> Iterator[tuple[Finding, list[str]]]:
    """Findings that say the same of several homes, once, with these homes."""

    def key(finding: Finding) -> tuple[Any, ...]:
        return (str(finding.fault), finding.spans, finding.count, finding.quantity, _anonymous(finding))

    groups: dict[tuple[Any, ...], list[Finding]] = {}
    for finding in sorted(findings, key=lambda finding: list(Fault).index(finding.fault)):
        groups.setdefault(key(finding), []).append(finding)
    for found in groups.values():
        yield found[0], [finding.home for finding in found]


def _anonymous(finding: Finding) -> str:
    return "" if finding.fault.value in {"gap", "blank"} else f"{finding.text} {finding.home}"


def _where(finding: Finding, homes: list[str]) -> str:
    named = [home for home in homes if home]
    more = f" and {len(named) - _HOMES_SHOWN} more" * (len(named) > _HOMES_SHOWN)
    whose = f"home{'s' * (len(named) > 1)} {', '.join(named[:_HOMES_SHOWN])}{more}" if named else ""
    quantity = f" {finding.quantity}" if finding.quantity else ""
    when = ", ".join(
        f"{utc_text(begin)}{f' ({length}x)' * (length > 1)}" for begin, length in finding.spans[:_SPANS_SHOWN]
    )
    rest = " ..." * (len(finding.spans) > _SPANS_SHOWN)
    line = f" (line {finding.line})" if finding.line is not None else ""
    parts = [f"{whose}{quantity}".strip(), f"{finding.count:,}x{f' at {when}{rest}' if when else ''}{line}"]
    return ", ".join(part for part in parts if part) + ": "


def _changed(survey: Survey, indent: str) -> list[str]:
    counts = survey.quality.counts()
    if not counts:
        return ["nothing was changed"]
    lines = ["changed (each value stands in repairs.csv):"]
    lines += [f"{indent}{count:,} {name}: {Cause(name).meaning}" for name, count in counts.items()]
    return lines


def markdown_of(survey: Survey) -> str:
    """The report as a page."""
    frame = survey.homes.frame
    lines = ["# Quality of the imported data", "", _head(survey), "", "## How the file was understood", ""]
    lines += [f"- {note}" for note in survey.quality.notes]
    lines += ["", "## What was found", ""]
    if survey.quality.findings:
        lines += ["| fault | where | what follows |", "|---|---|---|"]
        for finding, homes in alike(survey.quality.findings):
            where = _where(finding, homes).removesuffix(": ")
            lines.append(
                f"| {finding.fault}: {finding.fault.meaning} | {_cell(where)} | {_cell(finding.text)} |"
            )
    else:
        lines.append("Nothing that is wrong.")
    lines += ["", "## What was changed", ""]
    counts = survey.quality.counts()
    if counts:
        lines += ["Each value stands in `repairs.csv`.", "", "| values | cause | how |", "|---:|---|---|"]
        lines += [f"| {count:,} | {name} | {Cause(name).meaning} |" for name, count in counts.items()]
    else:
        lines.append("Nothing.")
    days = frame.count * frame.step_s / 86_400
    lines += [
        "",
        "## Homes",
        "",
        "| number | name in the file | measured | load, kWh | PV, kWh | kWh a day |",
    ]
    lines.append("|---:|---|---|---:|---:|---:|")
    rows = zip(
        survey.homes.names, survey.homes.metered, survey.load_wh.sum(0), survey.pv_wh.sum(0), strict=True
    )
    for number, (name, measured, load, pv) in enumerate(rows, 1):
        lines.append(
            f"| {number} | {_cell(name)} | {measured} | {load / 1e3:,.1f} | {pv / 1e3:,.1f} "
            f"| {load / 1e3 / days:,.2f} |"
        )
    if Role.TARIFF in survey.homes.place:
        price = survey.homes.place[Role.TARIFF]
        lines += [
            "",
            f"Import price: mean {price.mean():.4f}, from {price.min():.4f} to {price.max():.4f} per kWh.",
        ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def json_text(survey: Survey) -> str:
    """The document as a file."""
    return json.dumps(document_of(survey), ensure_ascii=False, indent=1) + "\n"
