"""The screen of the live view: a record as lines, as many and as wide as the terminal has."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

from energyctl.quantities import clock
from energyctl.render import BOLD, GREEN, RED, YELLOW, clean, paint
from energyctl.slotline import sparkline
from energyctl.top.slots import Heard

LABEL: Final = 10
_DIM: Final = "2"
_STATES: Final = {"running": GREEN, "starting": YELLOW, "stopping": YELLOW, "ended": YELLOW}
_ROOMY: Final = 110  # columns from which sparklines stand beside their figures
_FULL_LINES: Final = 18  # lines from which there are empty ones between the parts

HELP: Final = (
    ("rate", "slots and home-slots (a home in a slot) in a second, and market seconds: of the last minute"),
    ("lateness", "by how much slots opened after their time: the last one, percentiles of the last ones"),
    ("a slot", "what one holds on the average of the last minute: refused batches, claims of nobody's gift"),
    ("queue", "offers of gifts that lie in the System V queue now; shed are those that found it full"),
    ("ledger", "on the disk with its log, and its growth over the last minute"),
    ("memory", "own: neither of files nor shared; per home: the pool's own memory over all homes"),
    ("restarts", "of units by systemd, of the market's child external, of markets over this ledger"),
    ("process", "cpu: of one processor, since the last refresh; resident: what ps calls RSS"),
    ("keys", "q quits, ? comes back, + and - show more or less often, Ctrl-Z stops it and fg goes on"),
)  # fmt: skip


def _help(columns: int) -> list[str]:
    """What the figures mean, as wide as the screen."""
    lines = [""]
    for name, text in HELP:
        first, *rest = textwrap.wrap(text, max(20, columns - LABEL - 1))
        lines += [f"{name:<{LABEL}}{first}", *(f"{'':<{LABEL}}{line}" for line in rest)]
    return lines


def lines_of(
    record: Mapping[str, Any],
    kept: Sequence[Heard],
    size: tuple[int, int],
    *,
    interval_s: float,
    helping: bool,
    colour: bool,
) -> list[str]:
    """The screen: never more lines than there are, none wider."""
    columns, height = max(20, size[0]), max(4, size[1])
    head = [_title(record)]
    head += [f"! {text}" for text in _alerts(record)]
    foot = f"q quits   ? help   every {interval_s:g} s"
    if helping:
        body = _help(columns)
    else:
        figures = _figures(record, kept, columns)
        gap = [""] if height >= _FULL_LINES else []
        used = len(head) + len(figures) + 2 * len(gap) + 1
        body = [*gap, *figures, *gap, *_processes(record, height - used)]
    shown = [*head, *body][: height - 1]
    shown += [""] * (height - 1 - len(shown)) + [foot]
    cut = [clean(line)[:columns] for line in shown]
    return [_painted(line, at, len(cut), record, on=colour) for at, line in enumerate(cut)]


def _painted(line: str, at: int, count: int, record: Mapping[str, Any], *, on: bool) -> str:
    if at == 0:
        return paint(line, _STATES.get(str(record.get("state")), RED), on=on)
    if at == count - 1:
        return paint(line, _DIM, on=on)
    if line.startswith("! "):
        return paint(line, RED, on=on)
    if line.startswith("process "):
        return paint(line, BOLD, on=on)
    return line


def _title(record: Mapping[str, Any]) -> str:
    parts = [f"energy-market  {record.get('state')}"]
    if record.get("slot") is not None:
        time = str(record.get("local_time") or record.get("time") or "")
        parts.append(f"{clock(time)}  slot {record['slot']}")
    if record.get("homes"):
        joined = record.get("homes_joined")
        in_market = "" if joined in {None, record["homes"]} else f", {joined:,} of them trade"
        parts.append(f"{record['homes']:,} homes{in_market}")
    return "   ".join(parts)


def _alerts(record: Mapping[str, Any]) -> list[str]:
    problem = record.get("problem")
    return [*([str(problem)] if problem else []), *map(str, record.get("notes") or ())]


def _figures(record: Mapping[str, Any], kept: Sequence[Heard], columns: int) -> list[str]:
    lines = [
        ("rate", _rate(record)),
        ("lateness", _lateness(record)),
        ("a slot", _traffic(record)),
        ("queue", _queue(record)),
        ("ledger", _ledger(record)),
        ("memory", _memory(record)),
        ("restarts", _restarts(record)),
    ]
    shown = [f"{name:<{LABEL}}{text}" for name, text in lines]
    if columns >= _ROOMY:
        room = columns - _ROOMY + 36
        late = sparkline([each.lateness_us for each in kept], room)
        gifts = sparkline([each.gifts for each in kept], room)
        for at, spark in ((1, late), (2, gifts)):
            shown[at] = f"{shown[at]:<{_ROOMY - 38}}  {spark}"
    return shown


def _rate(record: Mapping[str, Any]) -> str:
    rate = record.get("slots_per_s")
    if rate is None:
        return "not known before the second slot"
    parts = [f"{short(rate)} slots/s", f"{short(record['home_slots_per_s'])} home-slots/s"]
    asked, reached = record.get("speed"), record.get("speed_reached")
    if asked and reached:
        parts.append(f"{short(reached)} of {short(asked)} times real time")
    return "   ".join(parts)


def _lateness(record: Mapping[str, Any]) -> str:
    said = record["lateness"]
    if said["now_us"] is None:
        return "not known before the first slot"
    figures = "   ".join(
        f"{name} {milliseconds(said[f'{name}_us'])}" for name in ("now", "p50", "p99", "max")
    )
    overdue = f"   {said['overdue_ms']} ms overdue" if said.get("overdue_ms") else ""
    return f"{figures}   ({said['slots']} slots){overdue}"


def _traffic(record: Mapping[str, Any]) -> str:
    mean = record["per_slot"]
    if mean["batches"] is None:
        return "–"
    parts = [f"{short(mean[name])} {name}" for name in ("batches", "orders", "gifts", "claims")]
    parts.append(f"{short(mean['refusals'])} refused")
    parts += [
        f"{short(mean[name])} {word}"
        for name, word in (("void_claims", "void"), ("late_batches", "late"))
        if mean[name]
    ]
    return "   ".join(parts)


def _queue(record: Mapping[str, Any]) -> str:
    queue = record.get("queue") or {}
    if not queue:
        return "–"
    limit = queue.get("limit_bytes")
    share = f" of {limit:,}, {queue['bytes'] / limit:.0%}" if limit else ""
    shed = (record.get("counts") or {}).get("shed_offers")
    since = f"   {shed:,} shed since the start" if shed else ""
    return f"{queue['messages']:,} offers   {queue['bytes']:,} bytes{share}{since}"


def _ledger(record: Mapping[str, Any]) -> str:
    ledger = record["ledger"]
    if ledger["bytes"] is None:
        return "–"
    parts = [size(ledger["bytes"])]
    if ledger["bytes_per_slot"] is not None:
        parts.append(f"{size(ledger['bytes_per_slot'], sign=True)} a slot")
    if ledger["bytes_per_s"] is not None:
        parts.append(f"{size(ledger['bytes_per_s'], sign=True)}/s")
    return "   ".join(parts)


def _memory(record: Mapping[str, Any]) -> str:
    memory = record["memory"]
    if not memory["resident_bytes"]:
        return "no process of the suite is seen from here"
    parts = [f"own {size(memory['own_bytes'])}", f"homes {size(memory['homes_own_bytes'])}"]
    if memory["own_bytes_per_home"] is not None:
        parts.append(f"{size(memory['own_bytes_per_home'])} per home")
    return "   ".join(parts)


def _restarts(record: Mapping[str, Any]) -> str:
    return "   ".join(f"{name} {count}" for name, count in record["restarts"].items())


def _processes(record: Mapping[str, Any], room: int) -> list[str]:
    """A row per process; the last one sums up those for which there is no room."""
    rows = record["processes"]
    if not rows or room < 2:
        return []
    head = f"{'process':<22}{'pid':>8}{'cpu':>8}{'resident':>12}{'own':>12}"
    shown = rows if len(rows) < room else rows[: room - 2]
    lines = [_row(row["name"], str(row["pid"]), [row]) for row in shown]
    rest = rows[len(shown) :]
    if rest:
        lines.append(_row(f"{len(rest)} more", "", rest))
    return [head, *lines]


def _row(name: str, pid: str, rows: Sequence[Mapping[str, Any]]) -> str:
    shares = [row["cpu"] for row in rows if row["cpu"] is not None]
    cpu = f"{100 * sum(shares):.1f} %" if shares else "–"
    resident, own = (size(sum(row[key] for row in rows)) for key in ("resident_bytes", "own_bytes"))
    return f"{name[:21]:<22}{pid:>8}{cpu:>8}{resident:>12}{own:>12}"


def short(value: float | None) -> str:
    """A figure with three digits that count: 0.0011, 0.5, 4.02, 312, 4,000."""
    if value is None:
        return "–"
    if value and abs(value) < 0.095:
        return f"{value:.2g}"
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def milliseconds(value_us: int | None) -> str:
    """Microseconds as milliseconds."""
    return "–" if value_us is None else f"{value_us / 1000:,.{0 if value_us >= 99_950 else 1}f} ms"


def size(value: float, *, sign: bool = False) -> str:
    """Bytes with three digits that count: 812 B, 9.1 kB, 62 MB."""
    amount, unit = abs(float(value)), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    digits = 0 if unit == "B" or amount >= 99.95 else 1
    before = "−" if value < 0 else "+" if sign else ""
    return f"{before}{amount:.{digits}f} {unit}"
