"""The line protocol of clients: lines come out the same however their bytes were cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energymarket.dispatch.lines import (
    Ask,
    Broken,
    LineReader,
    Misspoken,
    error_line,
    parse_ask,
    parse_question,
    result_line,
)

KNOWN = {"forecast": 1, "report": 1, "requetetype1": 1}


def expected(stream: bytes, bytes_max: int) -> list[bytes | Broken]:
    """The lines of a whole stream, by its definition."""
    *lines, rest = stream.split(b"\n")
    found: list[bytes | Broken] = [
        Broken.TOO_LONG if len(line) + 1 > bytes_max else line.removesuffix(b"\r") for line in lines
    ]
    if len(rest) > bytes_max:
        found.append(Broken.TOO_LONG)
    elif rest:
        found.append(rest.removesuffix(b"\r"))
    return found


@given(st.lists(st.sampled_from([b"report", b"x" * 9, b"\r", b"\n", b"\xff\x00", b" ", b""])), st.data())
def test_however_the_bytes_are_cut_the_lines_are_the_same(pieces: list[bytes], data: st.DataObject) -> None:
    """Any cutting of a stream, byte by byte or all at once, gives the lines of the whole."""
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    reader = LineReader(bytes_max=12)
    found: list[bytes | Broken] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += reader.feed(stream[begin:end])
        assert reader.held <= 12
    assert found + reader.finish() == expected(stream, 12)


def test_an_endless_line_is_told_at_once_and_costs_no_memory() -> None:
    """The limit's passing is told when it happens; whatever follows up to the end of the line is dropped."""
    reader = LineReader()
    assert reader.feed(b"x" * 65_536) == []
    assert reader.feed(b"x") == [Broken.TOO_LONG]
    for _ in range(100):
        assert reader.feed(b"x" * 65_536) == []
        assert reader.held == 0
    assert reader.feed(b"\nreport\r\n") == [b"report"]


def test_a_name_is_known_in_any_case_and_between_spaces() -> None:
    """RePort is report; a question may stand behind it."""
    assert parse_ask(b"  RePort \t", KNOWN) == Ask("report", "")
    assert parse_ask(b'REPORT  {"last": "7d"}', KNOWN) == Ask("report", '{"last": "7d"}')


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"", "empty line"),
        (b"  ", "empty line"),
        (b"rapport", 'unknown request type "rapport"'),
        (b"\x1b[2J\xff", 'unknown request type "\\x1b[2J'),
        (b"report [1]", "no JSON object"),
        (b"report {", "no JSON"),
        (b'report {"a": NaN}', "no JSON"),
        (b"report " + b"[" * 20_000, "no JSON"),
        ('report {"a":1}'.encode("utf-16"), "unknown request type"),
    ],
)
def test_what_is_no_request_is_told_what_it_lacks(line: bytes, said: str) -> None:
    """The reason names the fault, in printable ASCII of one line, whatever came."""
    with pytest.raises(Misspoken) as caught:
        parse_ask(line, KNOWN)
    text = str(caught.value)
    assert said in text
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 200


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(line: bytes) -> None:
    """Whatever a line holds, it is a request, or misspoken."""
    for parse in (lambda: parse_ask(line, KNOWN), lambda: parse_question(line)):
        try:
            parse()
        except Misspoken as problem:
            assert str(problem).isprintable()  # noqa: PT017 either is right


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_a_result_is_one_line_that_reads_back(value: object) -> None:
    """No text in a result or an error can end its line before its time."""
    line = result_line({"value": value})
    assert "\n" not in line
    assert json.loads(line) == {"result": {"value": value}}
    told = json.loads(error_line(repr(value), "why\nnot", "do"))
    assert told == {"error": {"what": repr(value), "why": "why\nnot", "do": "do"}}
