"""What the services are told: .ini, TOML, nothing; and secrets, which are in no text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from energymarket import meterd, pvd
from energymarket.exits import ConfigError, Exit
from energymarket.meters.settings import Settings, address, read, zone_of
from energymarket.scenario import toml
from energymarket.scenario.meters_schema import Broker
from energymarket.transport.amqp import Address


def told(tmp_path: Path, text: str, name: str = "broker.ini") -> Settings:
    path = tmp_path / name
    path.write_text(text)
    return read(path)


def at(tmp_path: Path, text: str, name: str = "broker.ini") -> tuple[str, int]:
    found = address(told(tmp_path, text, name).broker, {})
    return found.host, found.port


def password_of(broker: Broker, environ: Mapping[str, str]) -> str:
    return address(broker, environ).password


def test_what_is_not_said_is_localhost_and_5672(tmp_path: Path) -> None:
    """No file, an empty one, no section, only host, only port, both."""
    nothing = address(read(None).broker, {})
    assert (nothing.host, nothing.port, nothing.user, nothing.vhost) == ("localhost", 5672, "guest", "/")
    assert at(tmp_path, "") == ("localhost", 5672)
    assert at(tmp_path, "[meters]\ncount = 2\n") == ("localhost", 5672)
    assert at(tmp_path, "[broker]\nhost = rabbit.example\n") == ("rabbit.example", 5672)
    assert at(tmp_path, "[broker]\nport = 5673\n") == ("localhost", 5673)
    assert at(tmp_path, "[broker]\nhost: ::1\nport: 1\n") == ("::1", 1)
    assert at(tmp_path, "[broker]\ntls = yes\n") == ("localhost", 5671)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[broker]\nport = rabbit\n", "broker.port"),
        ("[broker]\nport = 70000\n", "broker.port"),
        ("[broker]\nport = ٣\n", "broker.port"),
        ("[broker]\nprot = 5672\n", 'did you mean "port"'),
        ("port = 5672\n", "no section"),
        ("[broker]\ntls = perhaps\n", "broker.tls"),
        ("[meters]\nseed = x\n", "meters.seed"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    """The file, the key and, where there is one, the word that was meant; exit code 78."""
    with pytest.raises(ConfigError) as refused:
        told(tmp_path, text)
    assert words in str(refused.value)
    assert "broker.ini" in str(refused.value)
    assert refused.value.code is Exit.CONFIGURATION


def test_sections_of_other_programs_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A shared file serves, also with a byte order mark; a warning names each, and what was meant."""
    text = "\ufeff[broker]\nport = 5673\n[logging]\nprot = debug\n[brokre]\nport = 1\n"
    assert at(tmp_path, text) == ("localhost", 5673)
    told = [each.getMessage() for each in caplog.records]
    assert [("[logging]" in each, 'did you mean "broker"' in each) for each in told] == [
        (True, False),
        (False, True),
    ]


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Somebody has named it."""
    with pytest.raises(ConfigError, match=r"nowhere\.ini"):
        read(tmp_path / "nowhere.ini")


def test_the_suite_s_configuration_has_the_same_tables(tmp_path: Path) -> None:
    """[broker] and [meters] of a scenario, its place, zone and seed; a scenario without names no meter."""
    before = toml.default_text()
    shown, _ = toml.parse(before, "default.toml")
    assert shown is not None
    plain = told(tmp_path, toml.show(shown), "suite.toml")
    assert not plain.names_meters
    assert plain.timezone == shown.time.timezone
    added = '\n[broker]\nhost = "rabbit.example"\ntls = true\n'
    added += '[meters]\ncount = 7\n[meters.pv]\nmode = "physical"\n'
    found = told(tmp_path, toml.show(shown) + added, "suite.toml")
    assert (found.meters.count, found.names_meters, found.meters.pv.mode) == (7, True, "physical")
    assert found.place == shown.place
    assert at(tmp_path, toml.show(shown) + added, "suite.toml") == ("rabbit.example", 5671)


def test_no_result_depends_on_the_broker() -> None:
    """A scenario that names a broker and meters is the same scenario to those who compile and compare it."""
    from energymarket.scenario.cache import source_hash
    from energymarket.scenario.likeness import differing

    text = toml.show(toml.parse(toml.default_text(), "a.toml")[0])  # type: ignore[arg-type]
    one, _ = toml.parse(text, "a.toml")
    two, problems = toml.parse(text + '\n[broker]\nhost = "rabbit.example"\n[meters]\ncount = 3\n', "a.toml")
    assert one is not None
    assert two is not None, problems
    assert differing(one, two) == ()
    object.__setattr__(two, "text", one.text)
    assert source_hash(one) == source_hash(two)


def test_a_password_comes_from_credential_file_or_configuration(tmp_path: Path) -> None:
    """In this order; and it is in no text of the address."""
    secret = tmp_path / "secret"
    secret.write_text("from the file\n")
    broker = told(tmp_path, f"[broker]\npassword = said\npassword_file = {secret}\n").broker
    assert password_of(broker, {}) == "from the file"
    (tmp_path / "energy-broker-password").write_text("a credential\n")
    given = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert password_of(broker, given) == "a credential"
    assert "credential" not in f"{address(broker, given)} {address(broker, given)!r}"
    assert password_of(told(tmp_path, "[broker]\npassword = said\n").broker, {}) == "said"
    with pytest.raises(ConfigError, match="nowhere"):
        address(told(tmp_path, "[broker]\npassword_file = /nowhere\n").broker, {})
    assert str(Address("host", 1, "me", "x", "v", tls=True)) == "amqps://me@host:1/v"


def test_the_zone_is_named_or_the_machine_s() -> None:
    """By option, by TZ; a name that is none is refused."""
    assert zone_of("Asia/Tokyo", {}).key == "Asia/Tokyo"
    assert zone_of("", {"TZ": ":America/New_York"}).key == "America/New_York"
    with pytest.raises(ConfigError, match="Mars"):
        zone_of("Mars/Olympus", {})


@pytest.mark.parametrize(("said", "count"), [("3", 3), ("1", 1), ("0", 1), ("-2", 1)])
def test_meters_are_at_least_one(said: str, count: int) -> None:
    """Zero and less mean one."""
    for option in ("-nb", "--nb-meter"):
        given = meterd.parse([option, said])
        assert max(1, given.count) == count


@pytest.mark.parametrize("said", ["x", "1.5", "", "1_0", "٣", "2000"])
def test_what_is_no_number_of_meters_is_an_error(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the option is named."""
    with pytest.raises(SystemExit) as ended:
        meterd.parse(["-nb", said])
    assert ended.value.code == Exit.USAGE
    assert "meter" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["-ids"], ["-ids", "../up"], ["-ids", "a/b"], ["-ids", ".hidden"], ["-ids", ""]]
)
def test_ids_are_one_or_more_names_of_files(words: list[str]) -> None:
    """None is an error, and so is one that leads out of the directory."""
    with pytest.raises(SystemExit) as ended:
        pvd.parse(words)
    assert ended.value.code == Exit.USAGE


def test_a_pv_service_without_any_meter_is_refused() -> None:
    """Neither words nor configuration name one: 78."""
    with pytest.raises(ConfigError, match="-ids"):
        pvd.ids_of(pvd.parse([]), read(None))
    assert pvd.ids_of(pvd.parse(["--meter-ids", "b", "a", "b"]), read(None)) == ["b", "a"]
