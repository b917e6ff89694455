"""The manual: what the code says now, clean for both formatters, with every verb, option and key."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from energyctl import verbs
from energymarket.runtime.occasions import Occasion
from energymarket.scenario import toml

ROOT = Path(__file__).resolve().parents[2]
MANUAL = ROOT / "packaging/man"
PAGES = sorted(MANUAL.glob("*.[1-8]"))
EVERYWHERE = {"--help", "--json", "--run"}
NOT_FOR_PEOPLE = {"HOME", "TERM", "ENERGY_POOL_PIDFD", "LISTEN_PID", "WATCHDOG_PID"}
"""Read from the environment, but set by the system or by ourselves only."""


def name_of(path: Path) -> str:
    return path.name


def text_of(name: str) -> str:
    """A page without roff's escapes: as a reader would quote it."""
    return (MANUAL / name).read_text().replace("\\-", "-").replace("\\&", "").replace("\\%", "")


def help_of(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "energyctl", *words, "--help"], capture_output=True, text=True, check=True
    )
    return done.stdout


def item(text: str, head: str) -> str:
    """The text below `.It Ic VERB`, as far as the next verb."""
    found = re.search(
        rf"^\.It Ic {re.escape(head)}(?: O| A|$).*?(?=^\.It Ic |^\.Sh )", text, re.DOTALL | re.MULTILINE
    )
    assert found, f"no item for {head}"
    return found[0]


def test_manual_and_completion_are_current() -> None:
    """What is committed is what the generator writes now."""
    command = [sys.executable, "packaging/man/generate.py", "--check"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.needs("man")
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_groff_has_no_warnings(page: Path) -> None:
    """The formatter of man-db takes the page without a warning, in 80 columns."""
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", str(page)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "PAGER": "cat"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, re.sub(".\b", "", done.stdout).splitlines())) <= 80


@pytest.mark.needs("mandoc")
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_mandoc_has_no_warnings(page: Path) -> None:
    """mandoc, which the BSDs and Alpine read with, is content as well."""
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", str(page)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_every_reference_leads_to_a_page() -> None:
    """`man:` of units and catalog, and `.Xr` between our pages, name pages that are there."""
    files = [path for path in (ROOT / "systemd").rglob("*") if path.is_file()]
    wanted = {match for path in files for match in re.findall(r"man:([\w.-]+)\((\d)\)", path.read_text())}
    assert len(wanted) >= 8
    for page in PAGES:
        wanted |= set(re.findall(r"^\.(?:It )?Xr (energy[\w.-]+) (\d)", page.read_text(), re.MULTILINE))
    assert {f"{name}.{section}" for name, section in wanted} - {page.name for page in PAGES} == set()


def test_every_page_is_referred_to() -> None:
    """No page is an island: energy-market(7) or energyctl(1) leads to it."""
    known = text_of("energy-market.7") + text_of("energyctl.1")
    for page in PAGES:
        name, _, section = page.name.rpartition(".")
        assert f"Xr {name} {section}" in known


@pytest.mark.parametrize("verb", verbs.MODULES)
def test_every_verb_and_option_is_in_the_page(verb: str) -> None:
    """What `--help` lists stands in energyctl(1), under the verb."""
    page = text_of("energyctl.1")
    shown = help_of(verb)
    _, _, listed = shown.partition("\nCommands:\n")
    inner = re.findall(r"^  ([a-z-]+)  ", listed.partition("\n\n")[0], re.MULTILINE) if listed else [""]
    assert inner
    for word in inner:
        words = [verb, word] if word else [verb]
        below = item(page, " ".join(words))
        options = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", help_of(*words), re.MULTILINE)) - EVERYWHERE
        assert [each for each in sorted(options) if f"Fl {each[1:]}" not in below] == []


def test_every_key_is_in_the_page() -> None:
    """Every key and table of the printed default configuration stands in energy-market.toml(5)."""
    page = text_of("energy-market.toml.5")
    default = toml.default_text()
    keys = set(re.findall(r"^(?:# )?([a-z]\w*) = ", default, re.MULTILINE))
    assert len(keys) > 80
    assert [key for key in keys if f".It Ic {key} " not in page] == []
    tables = set(re.findall(r"^(?:# )?(\[\[?[a-z_.]+\]\]?)$", default, re.MULTILINE))
    events = {table for table in tables if table.startswith("[price.events.")}
    assert [table for table in tables - events if table not in page] == []
    assert [table for table in events if f".It Ic {table[14:-1]}\n" not in page] == []


def test_the_example_of_a_scenario_is_good() -> None:
    """The first example of energy-market.toml(5) is a whole file, and passes every check."""
    _, _, rest = text_of("energy-market.toml.5").partition(".Bd -literal -offset indent\n")
    scenario, problems = toml.parse(rest.partition(".Ed")[0], "example.toml")
    assert problems == []
    assert scenario is not None
    assert scenario.homes_count == 2


def test_the_examples_are_commands() -> None:
    """Every command that a page shows has its verb and its options in the help."""
    shown = [
        words
        for page in PAGES
        for block in re.findall(
            r"^\.(?:Bd -literal.*?\n(.*?)^\.Ed|Dl (.+))$", page.read_text(), re.DOTALL | re.MULTILINE
        )
        for words in re.findall(r"^energyctl ([^|&\n]+)", "\n".join(block), re.MULTILINE)
    ]
    assert len(shown) > 12
    for line in shown:
        verb, *rest = line.split()
        found = help_of(verb)
        found = help_of(verb, rest[0]) if "\nCommands:\n" in found else found
        options = [word for word in rest if word.startswith("-") and word not in EVERYWHERE]
        assert [word for word in options if not re.search(rf"(?<!\S){word}[ ,]", found)] == [], line


def test_every_message_id_and_variable_is_in_a_page() -> None:
    """Each MESSAGE_ID, and each variable that some program reads, is explained."""
    manual = "\n".join(text_of(page.name) for page in PAGES)
    assert [each.name for each in Occasion if f".It Li {each.value}\n" not in manual] == []
    code = [path for base in ("daemons", "ctl") for path in (ROOT / base).rglob("*.py")]
    read = {
        name
        for path in code
        for name in re.findall(r'environ(?:\.get\(|\.pop\(|\[)"([A-Z_]+)"', path.read_text())
    }
    assert {"ENERGY_MARKET_RUN", "NO_COLOR", "ENERGY_LOG"} <= read
    assert [name for name in sorted(read - NOT_FOR_PEOPLE) if name not in manual] == []
