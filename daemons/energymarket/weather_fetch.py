"""energy-weather-fetch: asks a provider for the weather of now and leaves it for energy-weatherd."""

from __future__ import annotations

import argparse
import http.client
import logging
import os
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from energymarket.core.weather import LIMITS, sample_of
from energymarket.exits import ConfigError, Exit
from energymarket.runtime import clock, service
from energymarket.runtime.notify import Notifier
from energymarket.scenario.compiled import CompiledError, load
from energymarket.wire import weather_file
from energymarket.wire.weather_answers import AnswerError, Provider, Question
from energymarket.wire.weather_file import Observation, WeatherFileError

PROGRAM: Final = "energy-weather-fetch"
TIMEOUT_S: Final = 20.0
ANSWER_BYTES_MAX: Final = 1 << 20
RETRY_FIRST_S: Final = 30
KEY_BYTES_MAX: Final = 512
_TREND_OVER_S: Final = 6 * 3600  # observations further apart say nothing of a trend

log = logging.getLogger(__name__)


class FetchError(Exception):
    """The provider did not answer usefully; the text never holds the key."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says."""

    compiled: Path
    state_dir: Path
    once: bool


def question_of(weather: dict[str, Any]) -> Question:
    """Whom to ask, from a scenario's settings. ConfigError if key or address are of no use."""
    if not weather["live"]:
        raise ConfigError(
            "the scenario's weather is not live: there is nothing to fetch", 'weather.source = "live"'
        )
    question = Question(
        Provider(weather["provider"]),
        float(weather["latitude"]),
        float(weather["longitude"]),
        weather["url"],
        _key(weather["key_file"]),
    )
    if urlsplit(question.url()).scheme not in {"http", "https"}:
        raise ConfigError(f"weather.url {question.address!r} is no http or https address")
    if question.provider is Provider.OPENWEATHERMAP and not question.key and not question.address:
        raise ConfigError(
            "OpenWeatherMap wants a key", 'weather.key_file = "FILE", or the credential weather-key'
        )
    return question


def _key(file: str | None) -> str | None:
    """The provider's key: a credential of the service manager, else the scenario's key file."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(directory) / "weather-key" if directory else None
    path = credential if credential is not None and credential.exists() else file and Path(file)
    if not path:
        return None
    try:
        with Path(path).open("rb") as opened:
            return opened.read(KEY_BYTES_MAX).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"the key in {path} cannot be read: {problem}") from problem


def fetch(question: Question, timeout_s: float = TIMEOUT_S) -> Observation:
    """Ask once. FetchError says why there is no answer."""
    request = urllib.request.Request(question.url(), headers={"User-Agent": "energy-market"})  # noqa: S310 - http(s), see question_of
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310 - likewise
            raw = answer.read(ANSWER_BYTES_MAX + 1)
    except urllib.error.HTTPError as problem:
        problem.close()
        hint = ": is the key right?" if problem.code in {401, 403} else ""
        raise FetchError(f"{question.provider} answered {problem.code}{hint}") from None
    except urllib.error.URLError as problem:
        raise FetchError(f"{question.provider} cannot be reached: {problem.reason}") from None
    except (OSError, http.client.HTTPException) as problem:
        raise FetchError(f"{question.provider} broke off: {type(problem).__name__}") from None
    if len(raw) > ANSWER_BYTES_MAX:
        raise FetchError(f"{question.provider} answered more than {ANSWER_BYTES_MAX} bytes")
    try:
        return question.read(raw)
    except AnswerError as problem:
        raise FetchError(f"{question.provider}: {problem}") from None


def with_trend(observation: Observation, before: Observation | None) -> Observation:
    """The observation with its temperature's change per hour since the one before."""
    if before is None or not 0 < observation.observed_utc_s - before.observed_utc_s <= _TREND_OVER_S:
        return observation
    change_mc = int(observation.sample["temperature_mc"]) - int(before.sample["temperature_mc"])
    per_hour = round(change_mc * 3600 / (observation.observed_utc_s - before.observed_utc_s))
    low, high = LIMITS["trend_mc_per_h"]
    values = {name: int(observation.sample[name]) for name in LIMITS}
    values["trend_mc_per_h"] = min(max(per_hour, low), high)
    return Observation(observation.observed_utc_s, observation.source, sample_of(values, 0))


def leave(directory: Path, observation: Observation) -> None:
    """Write the file whole: a reader finds the old one or the new one."""
    path = directory / weather_file.NAME
    try:
        before = weather_file.unpack(path.read_bytes())
    except (OSError, WeatherFileError):
        before = None
    if before is not None and before.observed_utc_s == observation.observed_utc_s:
        return  # providers answer with the same observation for a while: its trend is already known
    draft = directory / f".{weather_file.NAME}.{os.getpid()}"
    try:
        with draft.open("wb") as file:
            file.write(weather_file.pack(with_trend(observation, before)))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def serve(settings: Settings, stop: service.StopFlag) -> Exit:
    """Ask again and again until stopped; after a failure sooner, then ever later up to the usual time."""
    try:
        weather = dict(load(settings.compiled).settings["weather"])
    except CompiledError as problem:
        raise ConfigError(str(problem)) from problem
    question = question_of(weather)
    every_s = int(weather["every_s"])
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    notifier = Notifier()
    notifier.ready(f"asking {question.provider}")
    failures = 0
    while not stop.is_set():
        text = _ask(question, settings.state_dir)
        failures = failures + 1 if text else 0
        notifier.status(text or f"weather of {question.provider} every {every_s} s")
        if settings.once:
            return Exit.FAILED if text else Exit.OK
        wait_s = every_s if not failures else min(every_s, RETRY_FIRST_S << min(failures - 1, 16))
        stop.wait_until(clock.boottime_ns() + wait_s * clock.NS_PER_S)
    notifier.stopping(f"stopping ({stop.reason})")
    return Exit.OK


def _ask(question: Question, directory: Path) -> str:
    """Ask once and leave the answer; what went wrong, or nothing."""
    try:
        leave(directory, fetch(question))
    except FetchError as problem:
        log.warning("%s", problem)
        return str(problem)
    return ""


def parse(arguments: list[str] | None) -> Settings:
    """The command line."""
    parser = argparse.ArgumentParser(
        PROGRAM, description="Fetch live weather into a file for energy-weatherd."
    )
    parser.add_argument(
        "--compiled",
        type=Path,
        required=True,
        metavar="DIR",
        help="directory of a compiled scenario with live weather",
    )
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="where to leave the weather")
    parser.add_argument("--once", action="store_true", help="ask once; exit 1 if there is no answer")
    given = parser.parse_args(arguments)
    return Settings(given.compiled, given.state, given.once)


def main(arguments: list[str] | None = None) -> int:
    """Run the fetcher; its exit code."""
    settings = parse(arguments)
    return service.run(PROGRAM, lambda stop: serve(settings, stop))


if __name__ == "__main__":
    sys.exit(main())
