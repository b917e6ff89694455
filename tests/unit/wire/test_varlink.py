"""The varlink codec: what the interface texts promise is checked, and what is no call is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
import varlink
from hypothesis import given
from hypothesis import strategies as st

from energymarket.wire import varlink as wire
from energymarket.wire.interface_text import Misfit, TextError, parse
from energymarket.wire.messages import CONTROL_INTERFACE, TRADE_INTERFACE

MAKER = wire.Maker("energy-market", "Market", "0.1", "https://example.org")
EXAMPLE = """\
# An interface with every kind of type.
interface org.example.types

type Point (x: int, y: ?int)
type Tree (name: string, branches: []Tree)

method Plain(flag: bool, number: int, real: float, text: string, free: object) -> ()
method Nested(point: Point, points: []Point, named: [string]int, colour: (red, green)) -> (point: Point)
method Grow(tree: Tree) -> ()
method Maybe(maybe: ?int, list: ?[]string) -> ()
error Wrong (why: string)
"""
PLAIN = {"flag": True, "number": 1, "real": 0.5, "text": "a", "free": {}}
NESTED = {"point": {"x": 1}, "points": [], "named": {}, "colour": "red"}

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def service() -> wire.Service:
    return wire.Service(MAKER, [TRADE_INTERFACE, CONTROL_INTERFACE, EXAMPLE])


def refused_parameter(service: wire.Service, method: str, parameters: dict[str, Any]) -> str | None:
    """The parameter an InvalidParameter names; None if the call is accepted."""
    try:
        service.find(method).accept(parameters)
    except wire.Refused as refusal:
        return (
            str(refusal.parameters["parameter"]) if refusal.name == wire.INVALID_PARAMETER else refusal.name
        )
    return None


@pytest.mark.parametrize("text", [TRADE_INTERFACE, CONTROL_INTERFACE, EXAMPLE, wire.SERVICE_INTERFACE])
def test_reference_parser_finds_the_same_members(text: str) -> None:
    """The reference implementation reads our interface texts and finds the members that we find."""
    ours, theirs = parse(text), varlink.scanner.Interface(text)
    assert theirs.name == ours.name
    assert set(theirs.members) == {*ours.types, *ours.methods, *ours.errors}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected 'interface'"),
        ("interface nodots", "an interface name"),
        ("interface a.b\nmethod low() -> ()", "line 2"),
        ("interface a.b\nmethod A() ()", "'->'"),
        ("interface a.b\nmethod A(x: int, x: int) -> ()", "x again"),
        ("interface a.b\nmethod A(x__y: int) -> ()", "name of a member"),
        ("interface a.b\nmethod A(x: Gone) -> ()", "Gone"),
        ("interface a.b\ntype A (x: Gone)", "Gone"),
        ("interface a.b\nmethod A(x: ??int) -> ()", "one '?'"),
        ("interface a.b\nmethod A(one, two) -> ()", "not words"),
        ("interface a.b\ntype A (x: int)\nerror A ()", "A again"),
        ("interface a.b\nmethod A(x: int", "expected ')'"),
        ("interface a.b\nmethod A(x: €) -> ()", "'€'"),
    ],
)
def test_a_mistake_in_an_interface_text_is_named(text: str, words: str) -> None:
    """A text that breaks the grammar raises TextError, which says where or what."""
    with pytest.raises(TextError) as caught:
        parse(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({}, None),
        ({"number": 2**63 - 1}, None),
        ({"number": -(2**63)}, None),
        ({"number": 2**63}, "number"),
        ({"number": -(2**63) - 1}, "number"),
        ({"number": 1.0}, "number"),
        ({"number": 1e308}, "number"),
        ({"number": True}, "number"),
        ({"number": "1"}, "number"),
        ({"number": None}, "number"),
        ({"real": 1}, None),
        ({"real": -0.0}, None),
        ({"real": 1e308}, None),
        ({"real": 10**30}, "real"),
        ({"real": "1"}, "real"),
        ({"flag": 1}, "flag"),
        ({"text": 1}, "text"),
        ({"text": None}, "text"),
        ({"free": []}, "free"),
        ({"free": {"a": [{"b": [1]}]}}, None),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_plain_types_are_strict(service: wire.Service, change: dict[str, Any], refused: str | None) -> None:
    """An int is an integer of 64 bits, a float is finite, and nothing is converted."""
    assert refused_parameter(service, "org.example.types.Plain", PLAIN | change) == refused


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({}, None),
        ({"point": {"x": 1, "y": None}}, None),
        ({"point": {"y": 1}}, "point.x"),
        ({"point": {"x": 1, "z": 1}}, "point.z"),
        ({"point": [1]}, "point"),
        ({"points": [{"x": 1}, {"x": "1"}]}, "points[1].x"),
        ({"points": {}}, "points"),
        ({"named": {"a": 1, "b": 0.5}}, "named.b"),
        ({"colour": "blue"}, "colour"),
        ({"colour": 1}, "colour"),
        ({"colour": ["red"]}, "colour"),
    ],
)
def test_a_misfit_is_named_by_its_path(
    service: wire.Service, change: dict[str, Any], refused: str | None
) -> None:
    """InvalidParameter names the member inside structs, arrays, maps and enums."""
    assert refused_parameter(service, "org.example.types.Nested", NESTED | change) == refused


@pytest.mark.parametrize("missing", sorted(PLAIN))
def test_a_missing_parameter_is_named(service: wire.Service, missing: str) -> None:
    """A call without a required parameter is refused for that parameter."""
    parameters = {name: value for name, value in PLAIN.items() if name != missing}
    assert refused_parameter(service, "org.example.types.Plain", parameters) == missing


def test_optional_parameters_are_none_when_absent(service: wire.Service) -> None:
    """Absent and null are the same for an optional parameter, and handlers find it as None."""
    method = service.find("org.example.types.Maybe")
    nothing = {"maybe": None, "list": None}
    assert method.accept(None) == method.accept({}) == method.accept(nothing) == nothing
    assert method.accept({"maybe": 3}) == {"maybe": 3, "list": None}


def test_a_free_object_is_bounded_in_depth(service: wire.Service) -> None:
    """An object of 16 levels is taken, one of 17 is refused."""
    free: dict[str, Any] = {}
    for _ in range(15):
        free = {"a": free}
    assert refused_parameter(service, "org.example.types.Plain", PLAIN | {"free": free}) is None
    assert refused_parameter(service, "org.example.types.Plain", PLAIN | {"free": {"a": free}}) == "free"


def test_a_type_inside_itself_is_bounded(service: wire.Service) -> None:
    """A recursive type is checked, and nesting without end is refused rather than a crash."""
    tree: dict[str, Any] = {"name": "leaf", "branches": []}
    assert refused_parameter(service, "org.example.types.Grow", {"tree": tree}) is None
    assert refused_parameter(service, "org.example.types.Grow", {"tree": tree | {"branches": [{}]}}) == (
        "tree.branches[0].name"
    )
    for _ in range(2000):
        tree = {"name": "", "branches": [tree]}
    assert refused_parameter(service, "org.example.types.Grow", {"tree": tree}) == "parameters"


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b" ",
        b"hello",
        b"null",
        b"[]",
        b"1",
        b'"Price"',
        b"{}",
        b'{"method":1}',
        b'{"method":null}',
        b'{"method":"a.B","parameters":[]}',
        b'{"method":"a.B","parameters":{"x":NaN}}',
        b'{"method":"a.B","parameters":{"x":Infinity}}',
        b'{"method":"a.B","parameters":{"x":-Infinity}}',
        b'{"method":"a.B","parameters":{"x":1e309}}',
        b'{"method":"a.B","parameters":{"x":01}}',
        b'{"method":"a.B","parameters":{"x":1_000}}',
        b'{"method":"a.B","parameters":{"x":+1}}',
        b'{"method":"a.B","parameters":{"x":' + b"9" * 5000 + b"}}",
        b'{"method":"a.B","parameters":{"x":"\xff"}}',
        b'{"method":"\xc3\x28"}',
        b'{"method":"a.B","parameters":{"x":"\\ud800"}}',
        b'{"method":"a.B"}{"method":"a.B"}',
        b'{"method":"a.B","more":1}',
        b'{"method":"a.B","surprise":1}',
        b"\xef\xbb\xbf" + b'{"method":"a.B"}',
        b'{"method":"a.B","parameters":{"x":' + b"[" * 500_000,
        b'{"method":"a.B","parameters":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b'{"method":"a.B","parameters":' + b'{"x":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    ],
    ids=lambda frame: repr(frame[:40]),
)
def test_what_is_no_call_is_malformed(frame: bytes) -> None:
    """Bytes that are not one JSON object with the members of a call raise Malformed and nothing else."""
    with pytest.raises(wire.Malformed):
        wire.decode_call(frame)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_call_or_malformed(frame: bytes) -> None:
    """No byte string raises anything but Malformed."""
    with suppress(wire.Malformed):
        wire.decode_call(frame)


@given(JSON_VALUES)
def test_any_parameters_are_accepted_or_refused_by_name(value: object) -> None:
    """Whatever JSON a peer sends for a parameter, the answer is the value or InvalidParameter."""
    method = wire.Service(MAKER, [TRADE_INTERFACE]).find("io.energymarket.Trade.Buy")
    sent = {"home": value, "energy_wh": value, "id": value}
    frame = wire.encode_call("io.energymarket.Trade.Buy", sent)
    try:
        found = wire.decode_call(frame[:-1])
    except wire.Malformed:
        return  # a number beyond what the decoder keeps
    with pytest.raises(wire.Refused) as caught:
        method.accept(found.parameters)
    assert caught.value.name == wire.INVALID_PARAMETER


def test_minus_zero_is_the_integer_zero(service: wire.Service) -> None:
    """-0 is a whole number in JSON: zero. -0.0 is none."""
    method = service.find("io.energymarket.Trade.Buy")
    for text, fits in ((b"-0", True), (b"-0.0", False), (b"1e308", False), (b"1e3", False), (b"1.0", False)):
        frame = (
            b'{"method":"io.energymarket.Trade.Buy","parameters":{"home":1,"energy_wh":%b,"id":"a"}}' % text
        )
        parameters = wire.decode_call(frame).parameters
        if fits:
            assert method.accept(parameters)["energy_wh"] == 0
        else:
            with pytest.raises(wire.Refused, match="energy_wh"):
                method.accept(parameters)


def test_of_two_equal_names_the_last_one_counts() -> None:
    """Duplicate names are read as the standard library's json reads them."""
    frame = b'{"method":"a.A","method":"a.B","parameters":{"x":1,"x":2}}'
    found = wire.decode_call(frame)
    assert {"method": found.method, "parameters": found.parameters} == json.loads(frame)


@pytest.mark.parametrize(
    ("method", "error", "parameters"),
    [
        ("io.energymarket.Trade.Gone", "MethodNotFound", {"method": "io.energymarket.Trade.Gone"}),
        ("io.energymarket.Gone.Price", "InterfaceNotFound", {"interface": "io.energymarket.Gone"}),
        ("Price", "InterfaceNotFound", {"interface": ""}),
        ("", "InterfaceNotFound", {"interface": ""}),
        ("x" * 1000 + ".Y", "InterfaceNotFound", {"interface": "x" * 128}),
    ],
)
def test_what_is_not_there_is_refused_by_the_standard_errors(
    service: wire.Service, method: str, error: str, parameters: dict[str, str]
) -> None:
    """A method nobody has gets the error of org.varlink.service, with what was asked, cut short."""
    with pytest.raises(wire.Refused) as caught:
        service.find(method)
    assert caught.value.name == f"org.varlink.service.{error}"
    assert caught.value.parameters == parameters


def test_introspection_tells_the_texts(service: wire.Service) -> None:
    """GetInfo lists all interfaces, GetInterfaceDescription answers the text as it was written."""
    info = service.introspect("org.varlink.service.GetInfo", {})
    assert info["interfaces"] == [
        "org.varlink.service",
        "io.energymarket.Trade",
        "io.energymarket.Control",
        "org.example.types",
    ]
    method = "org.varlink.service.GetInterfaceDescription"
    assert service.introspect(method, {"interface": "io.energymarket.Trade"}) == {
        "description": TRADE_INTERFACE
    }
    with pytest.raises(wire.Refused, match="InterfaceNotFound"):
        service.introspect(method, {"interface": "io.energymarket.Gone"})


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=5), st.booleans())
def test_what_is_written_is_plain_json_with_a_nul(parameters: dict[str, Any], more: bool) -> None:
    """Calls, replies and errors are read by the standard library's json as they were meant."""
    call, reply = (
        wire.encode_call("a.B", parameters, more=more),
        wire.encode_reply(parameters, continues=more),
    )
    error = wire.encode_error('a."B', parameters)
    assert all(frame.count(b"\0") == 1 and frame.endswith(b"\0") for frame in (call, reply, error))
    assert json.loads(call[:-1]) == {"method": "a.B", "parameters": parameters} | (
        {"more": True} if more else {}
    )
    assert json.loads(reply[:-1]) == {"parameters": parameters} | ({"continues": True} if more else {})
    assert json.loads(error[:-1]) == {"error": 'a."B', "parameters": parameters}


def test_answers_can_be_held_against_the_text(service: wire.Service) -> None:
    """An answer without a promised member, or with one too many, is a misfit."""
    method = service.find("io.energymarket.Trade.Sell")
    receipt = {"receipt": "r", "home": 1, "slot": 1, "energy_wh": 1, "price_ueur_per_kwh": 1, "total_ueur": 1}
    method.check_answer({"receipt": receipt})
    for wrong in ({}, {"receipt": receipt, "more": 1}, {"receipt": receipt | {"home": 1.0}}):
        with pytest.raises(Misfit):
            method.check_answer(wrong)
