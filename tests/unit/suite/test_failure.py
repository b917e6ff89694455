"""A failure's record is whole, and old ones go."""

from __future__ import annotations

import json
from pathlib import Path

from energymarket import failure


def test_a_record_says_what_systemd_told(tmp_path: Path) -> None:
    """Unit, result, code and status of the last life stand in the record."""
    told = {"MONITOR_SERVICE_RESULT": "exit-code", "MONITOR_EXIT_CODE": "exited", "MONITOR_EXIT_STATUS": "78"}
    record = failure.evidence("energy-market.service", told, 1_700_000_000_000_000_000)
    kept = json.loads(failure.keep(tmp_path, record).read_text())
    assert (kept["unit"], kept["service_result"], kept["exit_status"]) == (
        "energy-market.service",
        "exit-code",
        "78",
    )
    assert kept["time"] == "2023-11-14T22:13:20Z"


def test_the_oldest_records_go(tmp_path: Path) -> None:
    """No more records are kept than the limit says."""
    for second in range(failure.RECORDS_KEPT + 5):
        moment = f"2023-11-14T22:{second // 60:02}:{second % 60:02}Z"
        failure.keep(tmp_path, {"unit": "energy-market.service", "time": moment})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == failure.RECORDS_KEPT
    assert names[0].startswith("2023-11-14T220005Z")
