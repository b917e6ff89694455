"""Which programs a run starts, and with what."""

from __future__ import annotations

import sys
from pathlib import Path

from energyctl.up.life import Role
from energyctl.up.plan import Plan, commands, environment
from energyctl.up.prepare import left_the_pool
from energymarket import meterd, pvd


def plan(**changes: object) -> Plan:
    given: dict[str, object] = {
        "compiled": Path("/c"),
        "run": Path("/r"),
        "state": Path("/s"),
        "homes_count": 1000,
        "single_homes": (),
        "live_weather": False,
        "source": Path("/f.toml"),
        "shards": None,
        "speed": None,
        "slots": None,
        "course": "a run",
    }
    return Plan(**{**given, **changes})  # type: ignore[arg-type]


def test_the_default_run_is_market_weather_and_one_pool() -> None:
    """A thousand homes on two cores: three daemons; the pool decides on its shards."""
    market, weather, homes = commands(plan(slots=96, speed=900.0))
    assert market.argv == (
        sys.executable,
        "-P",
        "-m",
        "energymarket.marketd",
        "--compiled",
        "/c",
        "--run",
        "/r",
        "--state",
        "/s/market",
        "--config",
        "/f.toml",
        "--speed",
        "900",
        "--slots",
        "96",
        "--course",
        "a run",
    )
    assert weather.role is Role.WEATHER
    assert homes.argv[-4:] == ("--state", "/s/homes", "--speed", "900")


def test_the_assignment_is_six_homes_and_no_pool() -> None:
    """Six single homes are six processes."""
    found = commands(plan(homes_count=6, single_homes=(1, 2, 3, 4, 5, 6)))
    assert [c.name for c in found[2:]] == [f"home-{n}" for n in range(1, 7)]
    assert found[2].argv[-2:] == ("--home", "1")


def test_homes_beside_single_ones_are_one_pool() -> None:
    """Homes 1 and 3 for themselves, the others in the pool, which finds out itself which they are."""
    found = commands(plan(homes_count=5, single_homes=(1, 3), shards=2))
    assert [c.name for c in found[2:]] == ["homes", "home-1", "home-3"]
    assert found[2].argv[-2:] == ("--shards", "2")


def test_daemons_do_not_inherit_our_supervisor() -> None:
    """Watchdog, listening sockets and notify socket of a unit are ours, not theirs."""
    found = environment({"PATH": "/bin", "WATCHDOG_USEC": "1", "NOTIFY_SOCKET": "/n", "LISTEN_FDS": "2"})
    assert set(found) & {"WATCHDOG_USEC", "NOTIFY_SOCKET", "LISTEN_FDS"} == set()
    assert found["OPENBLAS_NUM_THREADS"] == "1"


def test_live_weather_is_fetched_by_a_program_of_its_own() -> None:
    """A scenario with live weather has a fetcher that leaves its file where the weather daemon looks."""
    found = {command.name: command.argv for command in commands(plan(live_weather=True))}
    state = found["weather"][found["weather"].index("--state") + 1]
    assert found["fetch"][3] == "energymarket.weather_fetch"
    assert found["fetch"][found["fetch"].index("--state") + 1] == state


def test_homes_that_live_by_meters_have_their_books_kept_but_not_without_a_clock() -> None:
    """The books lie beside the homes' registers, where the homes look for them; lockstep needs none."""
    given = plan(metered=True, homes_count=2, single_homes=(1, 2))
    found = {command.name: command.argv for command in commands(given)}
    books = found["readings"]
    assert books[3] == "energymarket.readingd"
    homes = Path(found["home-1"][found["home-1"].index("--state") + 1])
    assert Path(books[books.index("--state") + 1]) == homes.parent / "readings"
    assert books[books.index("-conf") + 1] == str(given.source)
    assert "--speed" not in books  # the scenario's
    hurried = {command.name: command.argv for command in commands(plan(metered=True, speed=60.0))}
    for name in ("market", "readings"):  # what is ahead of market time, both find alike
        assert hurried[name][hurried[name].index("--speed") + 1] == "60"
    stepped = commands(plan(metered=True, lockstep=True, homes_count=2, single_homes=(1, 2)))
    assert "readings" not in {command.name for command in stepped}


def test_a_home_that_has_left_the_pool_is_started_by_itself_again(tmp_path: Path) -> None:
    """Numbers of homes of the scenario count, whatever else lies there."""
    assert left_the_pool(tmp_path, 20) == ()
    apart = tmp_path / "homes" / "apart"
    apart.mkdir(parents=True)
    for name in ("7", "20", "21", "0", "03", "x", "٣"):
        (apart / name).touch()
    assert left_the_pool(tmp_path, 20) == (7, 20)


def test_a_configuration_that_names_meters_has_them_started_with_it() -> None:
    """Both are told by the scenario's own file, and write below the run's state; in lockstep neither."""
    found = {command.name: command.argv for command in commands(plan(meters=3))}
    meters, pv = meterd.parse(found["meters"][4:]), pvd.parse(found["pv"][4:])
    assert (meters.configuration_file, meters.state) == (Path("/f.toml"), Path("/s/meters"))
    assert (pv.configuration_file, pv.directory, pv.compiled) == (Path("/f.toml"), Path("/s/pv"), Path("/c"))
    assert "pv" not in {command.name for command in commands(plan())}
    assert "pv" not in {command.name for command in commands(plan(meters=3, lockstep=True))}
