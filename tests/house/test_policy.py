"""One behaviour, two carriers: `energyctl up` restarts, watches and gives up by what the units say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from energyctl.up.plan import Plan, commands, environment
from energyctl.up.policy import POLICIES, Policy, of_unit

UNITS = Path(__file__).resolve().parents[2] / "systemd/system"
UNITS_S = {"ms": 1e-3, "s": 1.0, "": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
NEWER = "50-systemd-254.conf"


def settings(unit: str) -> dict[str, str]:
    """The settings of a unit file and its drop-in; the last of a name counts."""
    files = [UNITS / unit, UNITS / f"{unit}.d" / NEWER]
    lines = [line for file in files if file.exists() for line in file.read_text().splitlines()]
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z]\w+=", line))


def span_s(text: str | None) -> float:
    """A span of systemd.time(7), of one number; 0 where there is none."""
    if text is None:
        return 0.0
    match = re.fullmatch(r"(\d+)(\w*)", text)
    assert match is not None, text
    return int(match[1]) * UNITS_S[match[2]]


@pytest.mark.parametrize("unit", POLICIES)
def test_a_policy_is_what_its_unit_says(unit: str) -> None:
    """Every value, under the name that systemd gives it; a unit of Type=exec has no time-out of its start."""
    said, policy = settings(unit), POLICIES[unit]
    assert said["Restart"] == "on-failure"
    found = Policy(
        restart_s=span_s(said["RestartSec"]),
        restart_steps=int(said.get("RestartSteps", "0")),
        restart_s_max=span_s(said.get("RestartMaxDelaySec")),
        starts_max=int(said["StartLimitBurst"]),
        starts_window_s=span_s(said["StartLimitIntervalSec"]),
        watchdog_s=span_s(said.get("WatchdogSec")),
        start_s=span_s(said["TimeoutStartSec"]) if said["Type"] == "notify" else policy.start_s,
        stop_s=span_s(said["TimeoutStopSec"]),
        abort_s=span_s(said["TimeoutAbortSec"]) if "WatchdogSec" in said else policy.abort_s,
        final_codes=frozenset(map(int, said["RestartPreventExitStatus"].split())),
    )
    assert found == policy


def test_every_daemon_of_a_run_has_a_unit_and_its_policy() -> None:
    """What `up` starts is what the target starts: each command names a unit file that is there."""
    here = Path("/x")
    plan = Plan(
        here, here, here, 3, (2,), live_weather=True, source=here, shards=None, speed=None, slots=None
    )
    for command in commands(plan):
        assert of_unit(command.unit) in POLICIES.values()
        assert (UNITS / re.sub(r"@\d+", "@", command.unit)).exists()


def test_the_delay_of_a_restart_grows_as_systemd_computes_it() -> None:
    """50 ms to 300 ms in 4 steps: factors of 6 ** (1/4), by hand, and a span that stays without steps."""
    growing = POLICIES["energy-market.service"]
    delays = [growing.delay_s(number) for number in range(1, 8)]
    by_hand = [0.05, 0.05 * 1.565, 0.05 * 2.449, 0.05 * 3.834, 0.3, 0.3, 0.3]
    assert delays == pytest.approx(by_hand, rel=1e-3)
    assert POLICIES["energy-weather-fetch.service"].delay_s(9) == 5.0


def test_no_daemon_hears_the_watchdog_of_our_own_supervisor() -> None:
    """Where `up` is a unit itself, its children have their own intervals and sockets."""
    found = environment({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "LISTEN_FDS": "1"})
    assert not {name for name in found if name.startswith(("WATCHDOG", "LISTEN"))}
