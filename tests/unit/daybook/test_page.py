"""The page: one well-formed file that asks for nothing, says what is not known, and can be read by all."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from energymarket.audit.figures import Figures
from energymarket.audit.ledger_file import LedgerFile
from energymarket.daybook import colours, local_days
from energymarket.daybook.indicators import indicators_of
from energymarket.daybook.markup import Markup, escaped, tag
from energymarket.daybook.page import Told, page
from energymarket.exits import Exit, NoSuchObject
from energymarket.report import _words, report
from tests.simulation.small_market import SmallMarket
from tests.unit.daybook.made_figures import figures

EVIL = "<script>alert('1')</script> & \"so\" on\x00"
SVG = "svg"


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> SmallMarket:
    """Two and a half days, a strike in them, a late shard."""
    made = SmallMarket(tmp_path_factory.mktemp("page"), slots=240)
    made.raise_event(0, 30, 50)
    made.play(100)
    made.play(late=(1,))
    made.play(139)
    made.close()
    return made


def words_for(market: SmallMarket, out: Path, *more: str) -> list[str]:
    where = ["--state", str(market.directory), "--compiled", str(market.directory / "compiled")]
    return [*where, "--html", "--out", str(out), *more]


def parsed(text: str) -> ET.Element:
    """HTML that is XML too, whatever follows its doctype. Raises ParseError."""
    first, _, rest = text.partition("\n")
    assert first == "<!DOCTYPE html>"
    return ET.fromstring(rest)  # noqa: S314 our own page


@pytest.fixture(scope="module")
def text(market: SmallMarket, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of that market."""
    out = tmp_path_factory.mktemp("out")
    assert report(_words(words_for(market, out))) == Exit.OK
    return (out / "report.html").read_text(encoding="utf-8")


# ---- one file that asks for nothing


def test_the_page_is_well_formed_and_asks_no_network(text: str) -> None:
    """No element and no rule of it names anything outside; the policy forbids it too."""
    root = parsed(text)
    for each in root.iter():
        assert each.tag not in {"script", "link", "iframe", "img", "image", "object", "embed", "base", "form"}
        for name, value in each.attrib.items():
            assert name not in {"src", "href", "srcset", "action", "xlink:href"}, (each.tag, name)
            assert not name.startswith("on")
            assert "url(" not in value
    sheet = "".join(each.text or "" for each in root.iter("style"))
    assert "url(" not in sheet
    assert "@import" not in sheet
    assert not re.search(r"https?:|//[a-z]", text)
    policy = next(each for each in root.iter("meta") if each.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in (policy.get("content") or "")


def test_the_same_ledger_gives_the_same_bytes(market: SmallMarket, text: str, tmp_path: Path) -> None:
    """Neither the time nor the place of writing is in it."""
    assert report(_words(words_for(market, tmp_path / "again"))) == Exit.OK
    assert (tmp_path / "again" / "report.html").read_text(encoding="utf-8") == text
    assert str(market.directory) not in text


def test_a_title_is_text_whatever_it_says(market: SmallMarket) -> None:
    """A scenario named like a script is shown, not run; characters that XML forbids are replaced."""
    compiled = dataclasses.replace(market.compiled, title=EVIL, name=EVIL)
    told = Told(figures(price=[200_000] * 4), None, compiled, 4)
    made = page(told)
    root = parsed(made)
    assert "<script" not in made
    heading = next(root.iter("h1")).text
    assert heading == EVIL.replace("\x00", "\ufffd")


def test_markup_is_escaped_once() -> None:
    """Text is escaped, markup is not escaped again, attributes keep their quotes out."""
    assert tag("p", ["a<b", Markup("<b>&amp;</b>")], title='"x"&') == (
        '<p title="&quot;x&quot;&amp;">a&lt;b<b>&amp;</b></p>'
    )
    assert escaped(escaped("&")) == "&amp;"
    assert tag("div") == "<div></div>"  # HTML would take <div/> for an open one
    assert tag("line", x1=1.26, y1=-0.01, class_="a", data_x=None) == '<line x1="1.3" y1="0" class="a"/>'


# ---- read by all


def test_every_picture_has_words_and_numbers(text: str) -> None:
    """A role and a label for those who do not see it, both widths, a table beside it; ids are unique."""
    root = parsed(text)
    sections = [each for each in root.iter("section") if each.find("figure") is not None]
    assert len(sections) >= 6
    for section in sections:
        pictures = list(section.iter(SVG))
        assert [each.get("class") for each in pictures] == ["wide", "narrow"]
        for each in pictures:
            assert each.get("role") == "img"
            assert len(each.get("aria-label") or "") > 40
        tables = list(section.iter("table"))
        assert tables, section.get("aria-labelledby")
        for table in tables:
            assert len(list(table.iter("tr"))) > 1
            assert all(cell.get("scope") for cell in table.iter("th"))
    ids = [each.get("id") for each in root.iter() if each.get("id")]
    assert len(ids) == len(set(ids))
    for each in root.iter():
        if (name := each.get("aria-labelledby")) is not None:
            assert name in ids
        if each.get("class") == "scroll":
            assert each.get("tabindex") == "0"
    assert root.get("lang") == "en"


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """WCAG 2.2, contrast ratio."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_black_on_white_is_21() -> None:
    """The measure itself, by the standard's own example."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("theme", [colours.LIGHT, colours.DARK], ids=["light", "dark"])
def test_texts_and_marks_stand_out_from_the_page(theme: dict[str, str]) -> None:
    """4.5 for texts, 3 for what pictures are made of (WCAG 2.2, 1.4.3 and 1.4.11), on what they stand on."""
    for name, colour in theme.items():
        if name in colours.SURFACES:
            continue
        is_text = name in colours.TEXTS
        for surface in (colours.CARD, colours.PAGE) if is_text else (colours.CARD,):
            assert contrast(colour, theme[surface]) >= (4.5 if is_text else 3), (name, surface)


# Severe deficiency of one kind of cones, in linear RGB: Machado, Oliveira, Fernandes 2009, table 1.
_SEEN_BY = {
    "all": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protan": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900],
    ],
}  # fmt: skip


def oklab(colour: str, seen: list[list[float]]) -> np.ndarray:
    """Ottosson 2020, of a colour as somebody sees it."""
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    cones = np.cbrt(
        np.array(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ]
        )
        @ np.clip(np.array(seen) @ linear, 0, 1)
    )
    found: np.ndarray = (
        np.array(
            [
                [0.2104542553, 0.7936177850, -0.0040720468],
                [1.9779984951, -2.4285922050, 0.4505937099],
                [0.0259040371, 0.7827717662, -0.8086757660],
            ]
        )
        @ cones
    )
    return found


@pytest.mark.parametrize("seen", _SEEN_BY.values(), ids=_SEEN_BY)
@pytest.mark.parametrize("theme", [colours.LIGHT, colours.DARK], ids=["light", "dark"])
def test_neighbours_in_a_picture_can_be_told_apart(theme: dict[str, str], seen: list[list[float]]) -> None:
    """Also by who lacks a kind of cones: what lies on each other differs by 0.07 (0.02 is just seen)."""
    flows = ("own given traded import", "own import", "given import", "sold unpaid")
    stacks = (*flows, "temperature imbalance events", "temperature events")
    for stack in stacks:
        for lower, upper in pairwise(stack.split()):
            difference = oklab(theme[lower], seen) - oklab(theme[upper], seen)
            assert np.linalg.norm(difference) >= 0.07, (lower, upper)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_scale_of_the_heat_map_has_an_order_without_its_hues(theme: str) -> None:
    """From nothing outwards every class stands out more: also who sees no colour at all can read it."""
    scale = colours.diverging(theme)
    middle = scale[colours.STEPS]
    for side in (scale[colours.STEPS :], scale[colours.STEPS :: -1]):
        ratios = [contrast(colour, middle) for colour in side]
        assert all(b > a for a, b in pairwise(ratios))
        assert ratios[-1] >= 3


# ---- what is not known, and what is odd


def rows(count: int) -> dict[str, Sequence[int]]:
    return {"consumed_wh": [500] * count, "imported_wh": [500] * count, "bought_wh": [500] * count}


@pytest.mark.parametrize(
    "slots",
    [
        pytest.param(figures(price=[]), id="no slot"),
        pytest.param(figures(price=[200_000]), id="one slot in which nothing happens"),
        pytest.param(figures(price=[200_000] * 96, totals=rows(96)), id="a day without sun"),
        pytest.param(figures(price=[-50_000, 0, 10] * 100, totals=rows(300)), id="prices below zero"),
        pytest.param(figures(price=[0] * 200), id="everything is zero"),
        pytest.param(figures(price=range(960), detailed=False, totals=rows(960)), id="compacted"),
        pytest.param(
            figures(price=[5] * 97, totals={"produced_wh": [9] * 97, "exported_wh": [9] * 97}), id="sun only"
        ),
        pytest.param(figures(price=[7] * 3, events={"strike": [0, 1000, 1000]}), id="an event to the end"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_odd_runs_have_a_page_too(market: SmallMarket, slots: Figures, known: bool) -> None:
    """With their scenario and without, whatever they hold: well-formed, no number that is none."""
    compiled = market.compiled if known else None
    made = page(Told(slots, None, compiled, 1))
    root = parsed(made)
    assert not re.search(r"\bnan\b|\binf\b", made, re.IGNORECASE)
    assert "Not checked." in made
    if not len(slots):
        assert "no slot was settled" in made
        return
    pictures = list(root.iter(SVG))
    assert len(pictures) >= 6
    if not known:
        assert "--compiled DIR" in made


def test_what_was_not_checked_says_so(market: SmallMarket, tmp_path: Path) -> None:
    """--no-check: exit 0; text and page say plainly that the ledger is believed; the tables are the same."""
    assert report(_words(words_for(market, tmp_path / "a", "--no-check"))) == Exit.OK
    assert report(_words(words_for(market, tmp_path / "b"))) == Exit.OK
    unchecked, checked = ((tmp_path / at / "report.html").read_text() for at in "ab")
    assert "Not checked." in unchecked
    assert "Not checked." not in checked
    assert "Checked." in checked
    assert "--no-check" in (tmp_path / "a" / "report.txt").read_text()
    for name in ("prices.csv", "homes.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_ledger_that_is_wrong_has_a_page_that_says_so(tmp_path: Path) -> None:
    """A price changed by hand: exit 5, the finding on the page, no indicators of what cannot be believed."""
    made = SmallMarket(tmp_path / "m", slots=8)
    made.play(6)
    made.close()
    made.store.open(scenario_hash=made.compiled.hash, genesis=b"", homes=4)
    with made.store._transaction() as db:
        db.execute("UPDATE slots SET price_ueur_per_kwh = 7 WHERE slot = ?", (made.first_slot + 2,))
    made.store.close()
    assert report(_words(words_for(made, tmp_path / "out"))) == Exit.DEGRADED
    text = (tmp_path / "out" / "report.html").read_text()
    parsed(text)
    assert "The checker disagrees" in text
    assert f"slot {made.first_slot + 2}" in text
    assert "Indicators and bills by rule are not known" in text


def test_the_day_that_was_asked_for_comes_first(market: SmallMarket, tmp_path: Path) -> None:
    """A day of the run is the first tab; one outside of it is named, with those that there are."""
    calendar = local_days.Calendar.of(market.compiled.period)
    first, _ = calendar.local(np.array([market.first_slot]))
    day = local_days.date_of(int(first[0]))
    assert report(_words(words_for(market, tmp_path / "out", "--day", day.isoformat()))) == Exit.OK
    root = parsed((tmp_path / "out" / "report.html").read_text())
    tabs = [each.text or "" for each in root.iter("label")]
    assert tabs[0].startswith(f"{day.day} ")
    assert "asked for" in tabs[0]
    with pytest.raises(NoSuchObject, match="no slot of 1999-12-31"):
        report(_words(words_for(market, tmp_path / "out", "--day", "1999-12-31")))
    with pytest.raises(SystemExit) as caught:
        _words(words_for(market, tmp_path, "--day", "tomorrow"))
    assert caught.value.code == Exit.USAGE


def test_bills_on_the_page_are_those_of_the_ledger(market: SmallMarket, text: str) -> None:
    """Under the run's own rule each home pays what its rows add up to; the table names every rule."""
    file = LedgerFile(market.ledger_path, market.ledger_path)
    file.open()
    found = indicators_of(file, market.homes, market.compiled, compares=True)
    file.close()
    assert found.comparison is not None
    paid = [-int(market.market.accounts.balance_ueur[home]) / 1e6 for home in range(4)]
    section = next(
        each for each in parsed(text).iter("section") if each.get("aria-labelledby") == "bills-title"
    )
    by_rule, by_home = section.iter("table")
    names = [cell.text or "" for cell in next(by_home.iter("tr")).iter("th")]
    own = next(at for at, name in enumerate(names) if "this run" in name)
    shown = ["".join(row[own].itertext()) for row in list(by_home.iter("tr"))[1:]]
    assert [float(cell.removesuffix(" ▼").replace("−", "-")) for cell in shown] == pytest.approx(
        paid, abs=0.005
    )
    assert len(list(by_rule.iter("tr"))) == len(names) == 8


def test_tiles_say_what_the_indicators_say(market: SmallMarket, text: str) -> None:
    """Every tile has a value and a definition: 240 slots of 800 Wh are 192 kWh."""
    tiles = [each for each in parsed(text).iter("details") if each.get("class") == "tile"]
    found = {each[0][0].text: each[0][1].text for each in tiles}
    assert found["produced"] == "192 kWh"
    assert found["homes"] == "4"
    assert all(len(each.get("title") or "") > 10 for each in tiles)
    file = LedgerFile(market.ledger_path, market.ledger_path)
    file.open()
    made = indicators_of(file, market.homes, market.compiled).document(home_table=False)
    file.close()
    assert found["self-sufficiency"] == f"{made['kpi']['self_sufficiency']['community']:.1%}".replace(
        "%", " %"
    )
    assert found["mean price"] == f"{made['kpi']['price']['mean_eur_per_kwh']:.4f} €/kWh"
    listed = next(each for each in parsed(text).iter("details") if "All indicators" in (each[0].text or ""))
    assert sum(1 for _ in listed.iter("tr")) > 50


def test_the_verb_runs_the_report(market: SmallMarket, tmp_path: Path) -> None:
    """The verb, of a state directory: files, JSON, exit 0; a place without a ledger is exit 4."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "energyctl", "report", *words, "--json"]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    compiled = str(market.directory / "compiled")
    done = run("--state", str(market.directory), "--compiled", compiled, "--html")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["check"]["ok"]
    assert [Path(each).name for each in document["files"]] == [
        "report.html", "report.txt", "prices.csv", "homes.csv",
    ]  # fmt: skip
    assert (tmp_path / "report" / "report.html").exists()
    assert not done.stderr
    assert run("--state", str(tmp_path)).returncode == Exit.NO_SUCH_OBJECT


def test_a_page_of_a_year_stays_small(market: SmallMarket) -> None:
    """35,040 slots of a busy year in less than 2 MB."""
    count = 35_040
    wave = [200_000 + (at * 7_919) % 50_000 for at in range(count)]
    flow = [(at * 104_729) % 9_000 for at in range(count)]
    totals = {"imported_wh": flow, "exported_wh": flow[::-1], "produced_wh": flow, "consumed_wh": flow}
    strikes = [1000 if at % 300 < 30 else 0 for at in range(count)]
    slots = figures(price=wave, totals=totals, events={"strike": strikes})
    assert len(page(Told(slots, None, market.compiled, 1000)).encode()) < 2_000_000


# ---- in a browser

_MEASURE = """
<script>
let widest = 0;
addEventListener("DOMContentLoaded", () => { widest = document.documentElement.scrollWidth; });
addEventListener("load", () => {
  const seen = each => getComputedStyle(each).display != "none";
  const all = [...document.querySelectorAll("svg")];
  const shown = all.filter(each => seen(each) && each.closest("section").offsetParent);
  const rectangles = shown.map(each => each.getBoundingClientRect());
  const boxes = rectangles.map(each => [each.width, each.height, each.left, each.right]);
  const letters = shown.flatMap(each => [...each.querySelectorAll("text")]);
  const texts = letters.map(each => parseFloat(getComputedStyle(each).fontSize) * each.getScreenCTM().a);
  const pages = [...document.querySelectorAll(".pages>section")].filter(seen).length;
  const found = document.createElement("pre");
  found.id = "found";
  found.textContent = JSON.stringify({boxes, texts, pages, width: innerWidth, widest});
  document.body.replaceChildren(found);
});
</script></body>
"""


def chromium(page: Path, profile: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={profile}", *more, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.needs("chromium")
@pytest.mark.parametrize(("width", "pictures"), [(1100, "wide"), (500, "narrow")])
def test_a_browser_shows_every_picture(text: str, tmp_path: Path, width: int, pictures: str) -> None:
    """No error on the console; one width of each picture, with a box; nothing wider than the window."""
    plain = tmp_path / "report.html"
    plain.write_text(text, encoding="utf-8")
    shown = chromium(plain, tmp_path / "a", "--enable-logging=stderr", "--dump-dom")
    assert shown.returncode == 0, shown.stderr[-2000:]
    assert "CONSOLE" not in shown.stderr
    # The page's own policy forbids scripts: a copy without it is measured.
    copy = tmp_path / "measured.html"
    bare = re.sub(r"<meta http-equiv=[^>]*>", "", text).replace("</body>", _MEASURE)
    copy.write_text(bare, encoding="utf-8")
    measured = chromium(copy, tmp_path / "b", f"--window-size={width},900", "--dump-dom")
    found = json.loads(re.search(r'<pre id="found">(.*?)</pre>', measured.stdout, re.DOTALL)[1])  # type: ignore[index]
    root = parsed(text)
    days = sum(1 for each in root.iter("input") if each.get("type") == "radio")
    drawn = sum(1 for each in root.iter(SVG) if each.get("class") == pictures)
    assert found["width"] == width
    assert found["pages"] == 1
    assert len(found["boxes"]) == drawn - days + 1
    for box_width, height, left, right in found["boxes"]:
        assert box_width > 0.7 * width - 100
        assert height > 60
        assert left >= 0
        assert right <= width
    assert found["widest"] <= width
    assert min(found["texts"]) >= 9


def test_dates_are_those_of_the_calendar() -> None:
    """1970-01-01 is day 0, and there and back is the same."""
    assert local_days.day_of(date(1970, 1, 1)) == 0
    assert local_days.date_of(local_days.day_of(date(2025, 6, 16))) == date(2025, 6, 16)
