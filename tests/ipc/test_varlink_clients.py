"""Clients that others wrote understand the server, and the control program's own says what is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncvarlink
import pytest

from energyctl import client as ctl
from energymarket.transport import listening
from energymarket.wire.messages import TRADE_INTERFACE
from tests.ipc.stand_in import PRICE_UEUR_PER_KWH, StandIn, notice
from tests.ipc.test_server import until
from tests.ipc.test_server_limits import stand_in_process

T = "io.energymarket.Trade"
ORDER = {"home": 1, "energy_wh": 5, "id": "a"}


@pytest.fixture
def market(run_dir: Path) -> Iterator[StandIn]:
    with StandIn(run_dir / "trade") as stand_in:
        yield stand_in


# ---- the reference implementation


def reference(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "varlink.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_reference_client_lists_the_interfaces(market: StandIn) -> None:
    """`varlink info` prints who we are and the interfaces."""
    ran = reference("info", f"unix:{market.path}")
    assert "Vendor: energy-market" in ran.stdout, ran.stderr
    assert ran.stdout.split("Interfaces:")[1].split() == ["org.varlink.service", T]


def test_reference_client_prints_the_interface_text(market: StandIn) -> None:
    """`varlink help` prints the text as it stands in our source."""
    ran = reference("help", f"unix:{market.path}/{T}")
    assert ran.stdout.strip() == TRADE_INTERFACE.strip(), ran.stderr


def test_reference_client_calls(market: StandIn) -> None:
    """`varlink call` gets answers and our named errors."""
    ran = reference("call", f"unix:{market.path}/{T}.Price")
    assert json.loads(ran.stdout)["price_ueur_per_kwh"] == PRICE_UEUR_PER_KWH, ran.stderr
    ran = reference("call", f"unix:{market.path}/{T}.Buy", json.dumps(ORDER))
    assert json.loads(ran.stdout)["receipt"]["energy_wh"] == 5, ran.stderr
    ran = reference("call", f"unix:{market.path}/{T}.Buy", json.dumps(ORDER | {"energy_wh": 1.5}))
    assert "InvalidParameter" in ran.stderr
    assert "energy_wh" in ran.stderr


def test_reference_client_watches(market: StandIn) -> None:
    """`varlink call --more` prints each answer of a stream until its end."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "varlink.cli",
        "call",
        "-m",
        f"unix:{market.path}/{T}.Watch",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ran:
        until(lambda: market.watchers)
        market.watchers[0].reply(notice(1), continues=True)
        market.watchers[0].reply(notice(2))
        out, _ = ran.communicate(timeout=30)
    assert [line.strip(' ,"slot:') for line in out.splitlines() if '"slot"' in line] == ["0", "1", "2"]


# ---- asyncvarlink as an oracle


async def oracle(path: Path, *calls: tuple[str, dict[str, Any], bool]) -> list[Any]:
    """Send all calls at once; the answers, or the error's name."""
    transport, protocol = await asyncvarlink.connect_unix_varlink(asyncvarlink.VarlinkClientProtocol, path)
    asked = [protocol.call(asyncvarlink.VarlinkMethodCall(*call)) for call in calls]
    replies = await asyncio.gather(*asked)
    transport.close()
    return [None if reply is None else reply[0].error or reply[0].parameters for reply in replies]


def test_asyncvarlink_pipelines_calls(market: StandIn) -> None:
    """Pipelined calls of an independent client are matched with their answers, one-way calls included."""
    order = [ORDER | {"energy_wh": number} for number in range(4)]
    got = asyncio.run(
        oracle(
            market.path,
            (f"{T}.Buy", order[0], False),
            (f"{T}.Buy", order[1], True),
            (f"{T}.Gone", {}, False),
            (f"{T}.Sell", order[2], False),
            (f"{T}.Buy", order[3] | {"x": 1}, False),
        )
    )
    assert got[0]["receipt"]["energy_wh"] == 0
    assert got[1:3] == [None, "org.varlink.service.MethodNotFound"]
    assert got[3]["receipt"]["energy_wh"] == 2
    assert got[4] == "org.varlink.service.InvalidParameter"
    assert market.sales == 2


def test_asyncvarlink_passes_descriptors_there_and_back(market: StandIn) -> None:
    """Descriptors named by their place in the message are understood both ways."""

    async def pass_one() -> bytes:
        transport, protocol = await asyncvarlink.connect_unix_varlink(
            asyncvarlink.VarlinkClientProtocol, market.path
        )
        batch = os.memfd_create("batch")
        os.write(batch, b"abc")
        call = asyncvarlink.VarlinkMethodCall(
            f"{T}.Submit", {"id": "back", "slot": 1, "epoch": 0, "descriptor": 0}
        )
        done = asyncio.get_running_loop().create_future()
        result = await protocol.call(call, [batch], done)
        assert result is not None
        reply, descriptors = result
        assert descriptors is not None
        assert reply.parameters == {"slot": 3, "receipt": None, "descriptor": 0}
        content = os.pread(descriptors[0].fileno(), 10, 0)
        done.set_result(None)
        os.close(batch)
        transport.close()
        await asyncio.sleep(0)
        return content

    assert asyncio.run(pass_one()) == b"cba"


def test_asyncvarlink_reads_a_stream(market: StandIn) -> None:
    """Answers with `continues` and the last one without are a stream for an independent client."""

    async def watch() -> list[Any]:
        transport, protocol = await asyncvarlink.connect_unix_varlink(
            asyncvarlink.VarlinkClientProtocol, market.path
        )
        seen: list[Any] = []
        async for reply, _ in protocol.call_more(asyncvarlink.VarlinkMethodCall(f"{T}.Watch", {}, more=True)):
            seen.append(reply.parameters)
            if len(seen) < 4:
                market.watchers[0].reply(notice(len(seen)), continues=len(seen) < 3)
            if not reply.continues:
                break
        transport.close()
        return seen

    assert asyncio.run(watch()) == [notice(slot) for slot in range(4)]


# ---- the control program's client


def test_the_control_program_calls_and_watches(market: StandIn) -> None:
    """Answers are dictionaries, errors carry name and parameters, a stream is an iterator."""
    with ctl.Connection(market.path) as connection:
        assert connection.call(f"{T}.Price")["price_ueur_per_kwh"] == PRICE_UEUR_PER_KWH
        with pytest.raises(ctl.VarlinkError) as caught:
            connection.call(f"{T}.Buy", ORDER | {"home": "one"})
        assert caught.value.name == "org.varlink.service.InvalidParameter"
        assert caught.value.parameters == {"parameter": "home"}
        stream = connection.watch(f"{T}.Watch")
        assert next(stream) == notice(0)
        market.watchers[0].reply(notice(1), continues=True)
        market.watchers[0].reply(notice(2))
        assert list(stream) == [notice(1), notice(2)]
        assert connection.call(f"{T}.Price")


def test_the_control_program_tells_why_nobody_answers(run_dir: Path) -> None:
    """Missing, dead, frozen and lost daemons are four different things to say."""
    path = run_dir / "trade"

    def why(timeout_s: float = 0.2) -> ctl.Why:
        with pytest.raises(ctl.Unreachable) as caught, ctl.Connection(path, timeout_s) as connection:
            connection.call(f"{T}.Sell", ORDER | {"id": "hold"})
        return caught.value.why

    assert why() is ctl.Why.MISSING
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    assert why() is ctl.Why.DEAD
    with stand_in_process(path) as process:
        assert why() is ctl.Why.SILENT
        process.send_signal(signal.SIGSTOP)
        assert why() is ctl.Why.SILENT
        process.send_signal(signal.SIGCONT)
    with StandIn(path) as market, ctl.Connection(path, 5) as connection:
        stream = connection.watch(f"{T}.Watch")
        next(stream)
        market.server.stop()
        with pytest.raises(ctl.Unreachable) as caught:
            next(stream)
        assert caught.value.why is ctl.Why.LOST
    made, _ = listening.listen(path, 0o600, 0)
    with made:
        with ctl.Connection(path):
            assert why() is ctl.Why.SILENT
        babbler, _ = made.accept()
        babbler.close()


@pytest.mark.parametrize(
    "said", [b"hello\0", b"[]\0", b'{"parameters":1}\0', b"[" * 100_000 + b"\0", b"\xff\0"]
)
def test_the_control_program_survives_another_protocol(run_dir: Path, said: bytes) -> None:
    """If something else answers at the path, that is said."""
    made, _ = listening.listen(run_dir / "trade", 0o600, 8)
    with made, ctl.Connection(run_dir / "trade", 5) as connection:
        other, _ = made.accept()
        with other:
            other.sendall(said)
            with pytest.raises(ctl.Unreachable) as caught:
                connection.call(f"{T}.Price")
    assert caught.value.why is ctl.Why.NONSENSE


@pytest.mark.needs("root")
def test_the_control_program_is_refused_by_the_file_s_mode(run_dir: Path) -> None:
    """A user outside the socket's group is Refused."""
    nobody = pwd.getpwnam("nobody")
    run_dir.chmod(0o755)
    with StandIn(run_dir / "trade") as market:
        pid = os.fork()
        if pid == 0:  # a child, as the user cannot be changed back in a thread of many
            code = 1
            try:
                os.setgroups([])
                os.setgid(nobody.pw_gid)
                os.setuid(nobody.pw_uid)
                ctl.Connection(market.path).open()
            except ctl.Refused:
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_control_program_s_client_needs_the_standard_library_only() -> None:
    """Importing it loads neither msgspec nor NumPy nor asyncio."""
    program = (
        "import sys, energyctl.client; "
        "print({'msgspec', 'numpy', 'asyncio', 'energymarket'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
