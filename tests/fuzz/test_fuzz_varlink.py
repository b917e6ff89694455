"""Mutated frames against the codec and a running server: nothing crashes, nothing wrong gets through.

What is right is decided by the standard library's json and ten lines here, not by the codec.
"""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from energymarket.core.chance import Purpose, draw_u64
from energymarket.runtime.clock import monotonic_s
from energymarket.transport.client import Connection
from energymarket.wire import varlink as wire
from energymarket.wire.messages import TRADE_INTERFACE
from tests.ipc.stand_in import MAKER
from tests.ipc.test_server_limits import stand_in_process

FRAMES: Final = 100_000
SEED: Final = 20_261_120
T: Final = "io.energymarket.Trade"
SEEDS: Final = (
    b'{"method":"io.energymarket.Trade.Price"}',
    b'{"method":"io.energymarket.Trade.Price","parameters":{},"more":false}',
    b'{"method":"io.energymarket.Trade.Buy","parameters":{"home":1,"energy_wh":250,"id":"a-1"}}',
    b'{"method":"io.energymarket.Trade.Buy","parameters":{"home":7,"energy_wh":0,"id":"\\u20ac"},"oneway":true}',
    b'{"method":"io.energymarket.Trade.Sell","parameters":{"home":1,"energy_wh":12,"id":"b"}}',
    b'{"method":"io.energymarket.Trade.Submit","parameters":{"id":"c","slot":1,"epoch":0,"data":"AAAA"}}',
    b'{"method":"org.varlink.service.GetInfo"}',
    b'{"method":"org.varlink.service.GetInterfaceDescription","parameters":{"interface":"a.b"}}',
)
TOKENS: Final = (
    *(
        b"NaN",
        b"Infinity",
        b"-0",
        b"-0.0",
        b"1e308",
        b"1e309",
        b"-1e999",
        b"1.0",
        b"01",
        b"+1",
        b"1_0",
        b"0x1",
    ),
    *(b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"9" * 400, b"true", b"null"),
    *(
        b"[]",
        b"{}",
        b"[" * 40,
        b"{" * 40,
        b'{"a":' * 2000,
        b"[" * 2000,
        b'"',
        b'""',
        b"\\",
        b"\\u0000",
        b"\\ud800",
    ),
    *(
        b"\xff",
        b"\xc3\x28",
        b"\xef\xbb\xbf",
        b"\xe2\x82\xac",
        "٣".encode(),
        b",",
        b":",
        b"}",
        b"]",
        b"{",
        b" ",
        b"\n",
    ),
    *(
        b'"more":true',
        b'"upgrade":true',
        b'"id":"x"',
        b'"energy_wh":',
        b'"home":2,',
        b"A" * 3000,
        b"\x00",
        b"#",
        b"/**/",
    ),
)


ORDER: Final = {"home": int, "energy_wh": int, "id": str}
PARAMETERS: Final[dict[str, tuple[dict[str, type], dict[str, type]]]] = {  # what a call needs, and may have
    f"{T}.Price": ({}, {}),
    f"{T}.Buy": (ORDER, {}),
    f"{T}.Sell": (ORDER, {}),
    f"{T}.Submit": ({"id": str, "slot": int, "epoch": int}, {"data": str, "descriptor": int}),
    "org.varlink.service.GetInfo": ({}, {}),
    "org.varlink.service.GetInterfaceDescription": ({"interface": str}, {}),
}
ERRORS: Final = {
    f"{T}.BatchRefused",
    "org.varlink.service.InvalidParameter",
    "org.varlink.service.MethodNotFound",
    "org.varlink.service.InterfaceNotFound",
}


class Draws:
    """Numbers by counter: the same frames in every run."""

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.count = 0

    def below(self, bound: int) -> int:
        """One of 0 .. bound - 1."""
        self.count += 1
        return draw_u64(SEED, Purpose.EVENT_ARRIVAL, self.stream, self.count) % bound


def frames(count: int, stream: int, *, nul: bool) -> Iterator[bytes]:
    """Seeds with up to four mutations each, some untouched; NUL bytes within only if asked."""
    draws = Draws(stream)
    for _ in range(count):
        frame = bytearray(SEEDS[draws.below(len(SEEDS))])
        for _ in range(draws.below(5)):
            _mutate(frame, draws)
        yield bytes(frame) if nul else bytes(frame).replace(b"\0", b"0")


def _mutate(frame: bytearray, draws: Draws) -> None:
    at = draws.below(len(frame) + 1)
    end = min(len(frame), at + draws.below(8))
    match draws.below(7):
        case 0:
            frame[at : at + 1] = bytes([draws.below(256)])
        case 1:
            del frame[at:end]
        case 2:
            del frame[at:]
        case 3:
            frame[at:at] = frame[at:end]
        case 4:
            _replace_value(frame, TOKENS[draws.below(len(TOKENS))], draws)
        case _:
            frame[at:at] = TOKENS[draws.below(len(TOKENS))]


def _replace_value(frame: bytearray, token: bytes, draws: Draws) -> None:
    """Put a token where a value stands."""
    colons = [place for place, byte in enumerate(frame) if byte == ord(":")]
    if colons:
        start = colons[draws.below(len(colons))] + 1
        end = start
        while end < len(frame) and frame[end] not in b",}":
            end += 1
        frame[start:end] = token


def right_call(frame: bytes) -> dict[str, Any] | None:
    """The call as the standard library reads it, if it is one of a known method with right parameters."""
    try:
        call = json.loads(frame.decode("utf-8"), parse_constant=_no_number)
        json.dumps(call, ensure_ascii=False).encode("utf-8")  # lone surrogates are no text
    except (ValueError, RecursionError):
        return None
    members = {"method": str, "parameters": dict, "more": bool, "oneway": bool, "upgrade": bool}
    if type(call) is not dict or "method" not in call or not call.keys() <= members.keys():
        return None
    call = {"parameters": {}} | {
        name: value for name, value in call.items() if (name, value) != ("parameters", None)
    }
    if any(type(value) is not members[name] for name, value in call.items()) or call.get("upgrade"):
        return None
    return call if _right_parameters(call["method"], call["parameters"]) else None


def _no_number(word: str) -> None:
    message = f"{word} is no number of JSON"
    raise ValueError(message)


def _right_parameters(method: str, parameters: dict[str, Any]) -> bool:
    if method not in PARAMETERS:
        return False
    needs, may = PARAMETERS[method]
    given = {name: value for name, value in parameters.items() if name not in may or value is not None}
    return needs.keys() <= given.keys() <= needs.keys() | may.keys() and all(
        type(value) is (needs | may)[name] and (not isinstance(value, int) or -(2**63) <= value < 2**63)
        for name, value in given.items()
    )


def test_the_codec_accepts_exactly_what_is_right() -> None:
    """Of 100,000 frames those are accepted that json and the interface call right, with the same values."""
    service = wire.Service(MAKER, [TRADE_INTERFACE])
    accepted = 0
    for frame in frames(FRAMES, 1, nul=True):
        try:
            found = wire.decode_call(frame)
            if found.upgrade:
                raise wire.invalid_parameter("upgrade")
            parameters = service.find(found.method).accept(found.parameters)
        except (wire.Malformed, wire.Refused):
            assert right_call(frame) is None, frame
            continue
        accepted += 1
        right = right_call(frame)
        assert right is not None, frame
        assert right["method"] == found.method
        assert {name: value for name, value in parameters.items() if value is not None} == {
            name: value for name, value in right["parameters"].items() if value is not None
        }
    assert FRAMES // 10 < accepted < FRAMES // 2


def exchange(path: Path, data: bytes) -> bytes:
    """Send all, read all until the server closes, both at once."""
    received = bytearray()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.setblocking(False)
        rest = memoryview(data)
        while True:
            readable, writable, _ = select.select([sock], [sock] if rest else [], [], 20)
            assert readable or writable, "the server neither reads nor answers"
            if writable:
                rest = rest[sock.send(rest) :]
                if not rest:
                    sock.shutdown(socket.SHUT_WR)
            if readable:
                chunk = sock.recv(1 << 20)
                if not chunk:
                    return bytes(received)
                received += chunk


def answered(frame: bytes) -> bool:
    """Whether the sender of a frame gets an answer: everything but a one-way call that is one."""
    try:
        return not wire.decode_call(frame).oneway
    except wire.Malformed:
        return True


def buys(frame: bytes) -> bool:
    """Whether a frame is a right call of Buy."""
    call = right_call(frame)
    return call is not None and call["method"] == f"{T}.Buy"


@pytest.mark.timeout(300)
def test_a_server_survives_a_hundred_thousand_frames(run_dir: Path) -> None:
    """Every frame gets its answer, every right Buy and no other is done, memory stays, so does the client."""
    path = run_dir / "trade"
    with stand_in_process(path, f"malformed_max={FRAMES}") as process, Connection(path) as honest:
        bought, slowest_s, memory = 0, 0.0, 0
        for batch in range(FRAMES // 500):
            sent = list(frames(500, 1000 + batch, nul=False))
            answers = exchange(path, b"".join(frame + b"\0" for frame in sent)).split(b"\0")[:-1]
            assert len(answers) == sum(map(answered, sent)), batch
            assert all(json.loads(answer).get("error", f"{T}.BatchRefused") in ERRORS for answer in answers)
            bought += sum(map(buys, sent))
            start_s = monotonic_s()
            assert honest.call(f"{T}.Price").parameters["slot"] == bought, batch
            slowest_s = max(slowest_s, monotonic_s() - start_s)
            if batch == 20:
                memory = process.memory_info().rss
        assert process.memory_info().rss - memory < 5 * 2**20
    assert bought > FRAMES // 100
    assert slowest_s < 1


def test_raw_bytes_of_any_kind_end_in_an_answer_or_the_end(run_dir: Path) -> None:
    """With the default limits, 200 peers that send random bytes are answered by name or closed."""
    path = run_dir / "trade"
    draws = Draws(3)
    with stand_in_process(path) as process, Connection(path) as honest:
        for _ in range(200):
            data = b"".join(draws.below(1 << 62).to_bytes(8, "little") for _ in range(draws.below(200)))
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                answers = bytearray()
                while True:
                    try:
                        chunk = sock.recv(65536)
                    except ConnectionResetError:  # closed with bytes of ours unread
                        break
                    if not chunk:
                        break
                    answers += chunk
            assert len(answers.split(b"\0")[:-1]) == min(10, data.count(0))
            assert honest.call(f"{T}.Price").parameters["slot"] == 0
        assert process.is_running()
