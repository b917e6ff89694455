"""The fetcher against a provider on loopback that answers as recorded, slowly, wrongly, or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from energymarket.scenario import toml
from energymarket.scenario.compile import compile_into
from energymarket.scenario.compiled import load
from energymarket.weather_fetch import FetchError, fetch, leave
from energymarket.wire import weather_file
from energymarket.wire.weather_answers import Provider, Question
from tests.ipc.processes import environment
from tests.unit.wire.test_weather_file import OPEN_METEO, OPENWEATHERMAP

SCENARIO = """
schema = 1
title = "live weather"
[time]
start = 2025-01-06
timezone = "UTC"
slots = 4
[weather]
source = "live"
provider = "{provider}"
url = "{url}"
key_file = "my.key"
[price]
half_life_h = 6
[[price.factor]]
name = "base"
alpha = 0.2
[[home]]
name = "h"
consumption_w = 100
"""


class Answering(BaseHTTPRequestHandler):
    """Answers by the path: /meteo, /owm, /denied, /long, /half, /silent."""

    asked: list[str]

    def do_GET(self) -> None:
        """Answer."""
        path = urlsplit(self.path).path
        self.asked.append(self.path)
        body = json.dumps(OPENWEATHERMAP if path == "/owm" else OPEN_METEO).encode()
        if path == "/denied":
            self.send_error(401)
            return
        if path == "/silent":
            self.server.wait.wait(20)  # type: ignore[attr-defined]
            return
        body = b"x" * (2 << 20) if path == "/long" else body
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + (100 if path == "/half" else 0)))
        self.end_headers()
        self.wfile.write(body[:50] if path == "/half" else body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing."""


@pytest.fixture
def provider() -> Iterator[str]:
    """A provider's address on loopback."""
    Answering.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.wait = threading.Event()  # type: ignore[attr-defined]
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.wait.set()  # type: ignore[attr-defined]
    server.shutdown()
    serving.join()
    server.server_close()


def fetched(tmp_path: Path, name: str, url: str) -> subprocess.CompletedProcess[str]:
    """The program, once."""
    (tmp_path / "my.key").write_text("s3cret\n", encoding="ascii")
    scenario, problems = toml.parse(SCENARIO.format(provider=name, url=url), str(tmp_path / "w.toml"))
    assert scenario is not None, toml.render_problems(problems)
    place = tmp_path / "c"
    place.mkdir()
    compile_into(place, replace(scenario))
    command = [sys.executable, "-m", "energymarket.weather_fetch", "--once", "--compiled", str(place)]
    command += ["--state", str(tmp_path / "state")]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)


def test_open_meteo_s_answer_is_left_for_the_daemon(provider: str, tmp_path: Path) -> None:
    """One question, and the file holds 27.4 °C of 2025-06-20 12:00 UTC; nothing else lies there."""
    done = fetched(tmp_path, "open-meteo", f"{provider}/meteo")
    assert done.returncode == 0, done.stderr
    observation = weather_file.unpack((tmp_path / "state" / weather_file.NAME).read_bytes())
    assert observation.observed_utc_s == 1_750_420_800
    assert int(observation.sample["temperature_mc"]) == 27_400
    assert [each.name for each in (tmp_path / "state").iterdir()] == [weather_file.NAME]
    asked = parse_qs(urlsplit(Answering.asked[0]).query)
    assert asked["latitude"] == ["49.4900"]


def test_openweathermap_gets_the_key_from_its_file(provider: str, tmp_path: Path) -> None:
    """The key is read from the file, asked with, and nowhere said."""
    done = fetched(tmp_path, "openweathermap", f"{provider}/owm")
    assert done.returncode == 0, done.stderr
    assert parse_qs(urlsplit(Answering.asked[0]).query)["appid"] == ["s3cret"]
    assert "s3cret" not in done.stderr


def test_a_refusal_ends_a_single_question_with_1(provider: str, tmp_path: Path) -> None:
    """401 is told as a question about the key, without the key; no file is left."""
    done = fetched(tmp_path, "openweathermap", f"{provider}/denied")
    assert done.returncode == 1
    assert "is the key right?" in done.stderr
    assert "s3cret" not in done.stderr
    assert list((tmp_path / "state").iterdir()) == []


@pytest.mark.parametrize(
    ("path", "words"),
    [("/long", "more than"), ("/half", "broke off|no JSON"), ("/silent", "broke off|cannot be reached")],
)
def test_a_provider_that_misbehaves_holds_nothing_up(provider: str, path: str, words: str) -> None:
    """Too much, cut short, silent: each ends within the deadline with a reason."""
    with pytest.raises(FetchError, match=words):
        fetch(Question(Provider.OPEN_METEO, 49.5, 8.5, f"{provider}{path}"), timeout_s=1.0)


def test_an_absent_provider_is_told() -> None:
    """Nobody listens: a reason, no crash."""
    with pytest.raises(FetchError, match="cannot be reached"):
        fetch(Question(Provider.OPEN_METEO, 49.5, 8.5, "http://127.0.0.1:1/"), timeout_s=2.0)


def test_two_observations_make_a_trend(provider: str, tmp_path: Path) -> None:
    """From 25.4 °C to 27.4 °C in half an hour is 4 K per hour; the same observation again changes nothing."""
    now = fetch(Question(Provider.OPEN_METEO, 49.5, 8.5, f"{provider}/meteo"))
    before = replace(now, observed_utc_s=now.observed_utc_s - 1800, sample=now.sample.copy())
    before.sample["temperature_mc"] = 25_400
    for observation in (before, now, now):
        leave(tmp_path, observation)
    found = weather_file.unpack((tmp_path / weather_file.NAME).read_bytes())
    assert int(found.sample["trend_mc_per_h"]) == 4_000


def test_a_scenario_without_live_weather_is_refused(tmp_path: Path) -> None:
    """There is nothing to fetch: exit 78."""
    text = SCENARIO.format(provider="open-meteo", url="http://127.0.0.1:1/")
    text = text.replace('"live"', '"constant"').replace('provider = "open-meteo"\n', "")
    text = text.replace('url = "http://127.0.0.1:1/"\n', "").replace('key_file = "my.key"\n', "")
    scenario, problems = toml.parse(text, str(tmp_path / "w.toml"))
    assert scenario is not None, toml.render_problems(problems)
    place = tmp_path / "c"
    place.mkdir()
    compile_into(place, scenario)
    assert not load(place).settings["weather"]["live"]
    command = [
        sys.executable,
        "-m",
        "energymarket.weather_fetch",
        "--once",
        "--compiled",
        str(place),
        "--state",
    ]
    done = subprocess.run(
        [*command, str(tmp_path)], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    assert "not live" in done.stderr
