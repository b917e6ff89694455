"""Which state a ledger verb means where no market runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from energyctl.ledger_place import users_state, words_for
from energyctl.session import Session


@pytest.mark.parametrize(("has_units", "place"), [(True, "energy-market"), (False, "energy-market/default")])
def test_a_users_units_keep_the_state_that_the_verbs_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_units: bool, place: str
) -> None:
    """With units of their own it is the state that those read; else that of `energyctl up`."""
    run = tmp_path / "runtime"
    (run / "energy-market").mkdir(parents=True)
    for name, value in (
        ("XDG_RUNTIME_DIR", run),
        ("XDG_CONFIG_HOME", tmp_path),
        ("XDG_STATE_HOME", tmp_path),
    ):
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("ENERGY_MARKET_RUN", raising=False)
    if has_units:
        (tmp_path / "systemd/user").mkdir(parents=True)
        (tmp_path / "systemd/user/energy-market.target").touch()
    here = Session(as_json=False, run=str(run / "energy-market"))
    assert users_state(here) == tmp_path / place
    assert str(tmp_path / place / "market/ledger.db") in words_for(here, None, None)
