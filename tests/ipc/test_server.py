"""The varlink server on real sockets: answers, their order, descriptors, streams, coming and going."""

from __future__ import annotations

import gc
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from energymarket.runtime.clock import monotonic_s
from energymarket.transport import listening
from energymarket.transport.client import Connection, Disconnected, TimedOut, VarlinkError, connect_when_there
from energymarket.transport.server import Server
from energymarket.transport.server_limits import TRADE_LIMITS
from energymarket.wire.messages import TRADE_INTERFACE
from energymarket.wire.varlink import Service, encode_call, encode_reply
from tests.ipc.stand_in import MAKER, PRICE_UEUR_PER_KWH, StandIn, notice

T = "io.energymarket.Trade"
PRICE = encode_call(f"{T}.Price")


@pytest.fixture
def market(run_dir: Path) -> Iterator[StandIn]:
    """A stand-in that serves; afterwards as many descriptors are open as before."""
    gc.collect()  # what an earlier test dropped is not closed in the middle of this one
    before = open_descriptors()
    with StandIn(run_dir / "trade", replace(TRADE_LIMITS, out_bytes_max=64 * 1024)) as stand_in:
        yield stand_in
    assert open_descriptors() == before


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # one descriptor less than pathlib


def raw(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))  # before the time-out, with which a full backlog would be an error
    sock.settimeout(10)
    return sock


def answers(sock: socket.socket, count: int) -> list[dict[str, Any]]:
    """So many frames, read by the standard library's json."""
    data = b""
    while data.count(b"\0") < count:
        chunk = sock.recv(65536)
        assert chunk, f"closed after {data!r}"
        data += chunk
    return [json.loads(frame) for frame in data.split(b"\0")[:-1]]


def until(fact: Any, within_s: float = 5.0) -> None:
    """Wait for a fact."""
    pause, end_s = threading.Event(), monotonic_s() + within_s
    while not fact():
        assert monotonic_s() < end_s, "did not become true"
        pause.wait(0.005)


def order(energy_wh: int, identity: str) -> dict[str, Any]:
    return {"home": 1, "energy_wh": energy_wh, "id": identity}


def memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("batch")
    os.write(descriptor, content)
    return descriptor


# ---- answers


def test_a_call_is_answered_as_the_interface_promises(market: StandIn) -> None:
    """Price answers all members of the interface text."""
    with Connection(market.path) as connection:
        answer = connection.call(f"{T}.Price")
    assert answer.parameters["price_ueur_per_kwh"] == PRICE_UEUR_PER_KWH
    Service(MAKER, [TRADE_INTERFACE]).find(f"{T}.Price").check_answer(answer.parameters)


def test_wrong_parameters_and_methods_get_the_standard_errors(market: StandIn) -> None:
    """A wrong call is answered by name, and the connection serves on."""
    with Connection(market.path) as connection:
        for method, parameters, error, said in (
            (f"{T}.Buy", order(1, "a") | {"energy_wh": 1.5}, "InvalidParameter", "energy_wh"),
            (f"{T}.Price", {"now": True}, "InvalidParameter", "now"),
            (f"{T}.Give", {}, "MethodNotFound", f"{T}.Give"),
            ("org.example.Other.Price", {}, "InterfaceNotFound", "org.example.Other"),
        ):
            with pytest.raises(VarlinkError) as caught:
                connection.call(method, parameters)
            assert caught.value.name == f"org.varlink.service.{error}"
            assert list(caught.value.parameters.values()) == [said]
        assert connection.call(f"{T}.Price").parameters["slot"] == 0
    assert market.sales == 0


def test_upgrade_is_refused(market: StandIn) -> None:
    """Nobody speaks another protocol on this socket."""
    with raw(market.path) as sock:
        sock.sendall(b'{"method":"io.energymarket.Trade.Price","upgrade":true}\0')
        assert answers(sock, 1)[0]["parameters"] == {"parameter": "upgrade"}


def test_the_peer_is_who_the_kernel_says(market: StandIn) -> None:
    """A call knows pid, uid and gid of its peer and the name of the socket."""
    with Connection(market.path) as connection:
        connection.call(f"{T}.Sell", order(1, "a"))
        peer = market.calls[0].peer
        assert (peer.pid, peer.uid, peer.gid, peer.socket) == (os.getpid(), os.getuid(), os.getgid(), "trade")
    until(lambda: market.closed == [peer])
    assert market.opened == [peer]


def test_a_call_that_arrives_in_pieces_is_one_call(market: StandIn) -> None:
    """Bytes one by one, and two calls in one write, make the same calls."""
    with raw(market.path) as sock:
        for byte in PRICE:
            sock.sendall(bytes([byte]))
        sock.sendall(PRICE + PRICE[:10])
        sock.sendall(PRICE[10:])
        assert [answer["parameters"]["slot"] for answer in answers(sock, 3)] == [0, 0, 0]


def test_a_oneway_call_is_done_and_not_answered(market: StandIn) -> None:
    """The answer after a one-way call is that of the call behind it."""
    with raw(market.path) as sock:
        call = json.loads(encode_call(f"{T}.Buy", order(1, "a"))[:-1]) | {"oneway": True}
        sock.sendall(json.dumps(call).encode() + b"\0" + PRICE)
        assert answers(sock, 1)[0]["parameters"]["slot"] == 1


def test_a_peer_that_says_no_more_still_gets_its_answers(market: StandIn) -> None:
    """After shutdown of the writing side, pending calls are answered, then the connection ends."""
    with raw(market.path) as sock:
        sock.sendall(PRICE + encode_call(f"{T}.Sell", order(1, "hold")))
        sock.shutdown(socket.SHUT_WR)
        until(lambda: market.calls)
        market.calls[0].reply({"receipt": {}})
        assert answers(sock, 2)[1] == {"parameters": {"receipt": {}}}
        assert sock.recv(1) == b""


def test_an_inline_batch_of_almost_a_megabyte_is_taken(market: StandIn) -> None:
    """A Submit whose data is 1,000,000 characters of base64 arrives whole."""
    with Connection(market.path) as connection:
        parameters = {"id": "a", "slot": 1, "epoch": 0, "data": "A" * 1_000_000}
        assert connection.call(f"{T}.Submit", parameters).parameters["slot"] == 1_000_000


# ---- order


def test_answers_keep_the_order_of_the_calls(market: StandIn) -> None:
    """Calls sent together are worked on together, and answered in their order."""
    with raw(market.path) as sock:
        calls = (("Sell", order(1, "hold1")), ("Sell", order(2, "hold2")), ("Buy", order(3, "c")))
        sock.sendall(b"".join(encode_call(f"{T}.{name}", parameters) for name, parameters in calls))
        until(lambda: market.sales == 1)
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(10)
        market.calls[1].error(f"{T}.GateClosed", {"slot": 2, "open_slot": None})
        market.calls[0].reply({"receipt": {"receipt": "hold1"}})
        first, second, third = answers(sock, 3)
    assert first["parameters"]["receipt"]["receipt"] == "hold1"
    assert second["error"] == f"{T}.GateClosed"
    assert third["parameters"]["receipt"]["receipt"] == "c"


def test_pending_calls_are_bounded_and_the_rest_waits(run_dir: Path) -> None:
    """With 4 calls pending, the fifth is started when the first has its answer."""
    with StandIn(run_dir / "trade", replace(TRADE_LIMITS, pending_max=4)) as market, raw(market.path) as sock:
        sock.sendall(b"".join(encode_call(f"{T}.Sell", order(n, f"hold{n}")) for n in range(10)))
        until(lambda: len(market.calls) == 4)
        for done in range(10):
            until(lambda done=done: len(market.calls) == min(10, done + 4))
            market.calls[done].reply({"receipt": {"energy_wh": done}})
        numbers = [answer["parameters"]["receipt"]["energy_wh"] for answer in answers(sock, 10)]
    assert numbers == list(range(10))


def test_answers_come_from_many_threads_at_once(market: StandIn) -> None:
    """Eight threads answer 2,000 calls of 20 connections, each gets all of its own in order."""
    socks = [raw(market.path) for _ in range(20)]
    for who, sock in enumerate(socks):
        sock.sendall(b"".join(encode_call(f"{T}.Sell", order(n, f"hold{who}")) for n in range(100)))
    numbers, turns = iter(range(2000)), threading.Lock()

    def work() -> None:
        while True:
            with turns:
                number = next(numbers, None)
            if number is None:
                return
            until(lambda number=number: number < len(market.calls))
            call = market.calls[number]
            bought, whose = call.parameters["energy_wh"], call.parameters["id"]
            call.reply({"receipt": {"energy_wh": bought, "receipt": whose}})

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for who, sock in enumerate(socks):
        got = [answer["parameters"]["receipt"] for answer in answers(sock, 100)]
        assert got == [{"energy_wh": n, "receipt": f"hold{who}"} for n in range(100)]
        sock.close()
    for thread in threads:
        thread.join()


def test_a_call_is_answered_once(market: StandIn) -> None:
    """A second answer is a bug of the handler and raises in it."""
    with Connection(market.path) as connection:
        connection.call(f"{T}.Sell", order(1, "a"))
        with pytest.raises(RuntimeError, match="answered twice"):
            market.calls[0].reply({})
        with pytest.raises(ValueError, match="more"):
            market.calls[0].reply({}, continues=True)


# ---- streams


def test_watchers_get_every_notice_in_order(market: StandIn) -> None:
    """One encoding goes to all watchers; each yields it in order, the last one ends the stream."""
    connections = [Connection(market.path).open() for _ in range(50)]
    for connection in connections:
        connection.start(f"{T}.Watch")
    until(lambda: len(market.watchers) == 50)
    for slot in range(1, 21):
        frame = encode_reply(notice(slot), continues=slot < 20)
        for watcher in market.watchers:
            watcher.reply_frame(frame, continues=slot < 20)
    for connection in connections:
        slots: list[int] = []
        while not slots or connection.continues:
            answer = connection.receive(10)
            assert answer is not None
            slots.append(answer.parameters["notice"]["slot"])
        assert slots == list(range(21))
        assert connection.call(f"{T}.Price").parameters["slot"] == 0
        connection.close()


def test_a_call_behind_a_stream_waits_for_its_end(market: StandIn) -> None:
    """A Buy sent behind a Watch is not done while the stream goes on."""
    with raw(market.path) as sock:
        sock.sendall(encode_call(f"{T}.Watch", more=True) + encode_call(f"{T}.Buy", order(1, "a")))
        assert answers(sock, 1)[0]["continues"]
        assert market.sales == 0
        market.watchers[0].reply(notice(1))
        assert "receipt" in answers(sock, 2)[1]["parameters"]
        assert market.sales == 1


def test_watch_without_more_is_answered_once(market: StandIn) -> None:
    """A caller who did not ask for more gets one notice, and the connection is free again."""
    with Connection(market.path) as connection:
        assert connection.call(f"{T}.Watch").parameters == notice(0)
        connection.call(f"{T}.Price")
        assert not connection.continues


def test_a_watcher_that_does_not_read_is_closed(market: StandIn) -> None:
    """Beyond the cap of unread answers a peer is closed; another watcher has them all."""
    with raw(market.path) as idle, Connection(market.path) as honest:
        idle.sendall(encode_call(f"{T}.Watch", more=True))
        until(lambda: market.watchers)
        honest.start(f"{T}.Watch")
        assert honest.receive(10) is not None
        for slot in range(1, 501):
            for watcher in market.watchers:
                watcher.reply(notice(slot, padding=2000), continues=True)
            answer = honest.receive(10)
            assert answer is not None
            assert answer.parameters["notice"]["slot"] == slot
        until(lambda: market.watchers[0].gone)
        assert not market.watchers[1].gone
        market.watchers[0].reply(notice(501))  # dropped without a word


def test_a_peer_that_reads_nothing_is_closed_in_time(run_dir: Path) -> None:
    """Answers that wait longer than the limit close the connection, however few they are."""
    limits = replace(TRADE_LIMITS, stalled_s_max=0.3)
    with StandIn(run_dir / "trade", limits) as market, raw(market.path) as sock:
        sock.sendall(encode_call(f"{T}.Watch", more=True))
        until(lambda: market.watchers)
        market.watchers[0].reply(notice(1, padding=900_000), continues=True)
        until(lambda: market.watchers[0].gone)


def test_a_long_stream_goes_from_drain_to_drain(market: StandIn) -> None:
    """20 MB in answers of 100 kB arrive whole although 64 kB is the cap of what may wait."""
    with Connection(market.path) as connection:
        connection.start(f"{T}.Watch")
        until(lambda: market.watchers)
        call, sent, backlog = market.watchers[0], [0], [0]

        def more() -> None:
            backlog[0] = max(backlog[0], call.backlog_bytes)
            sent[0] += 1
            call.reply(notice(sent[0], padding=100_000), continues=sent[0] < 200)
            if sent[0] < 200:
                call.when_drained(more)

        call.when_drained(more)
        slots = [0]
        assert connection.receive(10) is not None
        while connection.continues:
            answer = connection.receive(10)
            assert answer is not None
            slots.append(answer.parameters["notice"]["slot"])
    assert slots == list(range(201))
    assert backlog[0] == 0


# ---- descriptors


def test_a_memory_file_goes_there_and_back(market: StandIn) -> None:
    """The descriptor named in the call is read, and the one named in the answer belongs to the caller."""
    batch = memory_file(b"kWh" * 1000)
    with Connection(market.path) as connection:
        parameters = {"id": "back", "slot": 1, "epoch": 0, "descriptor": 0}
        for _ in range(3):
            answer = connection.call(f"{T}.Submit", parameters, (batch,))
            (back,) = answer.descriptors
            assert os.pread(back, 10_000, 0) == b"hWk" * 1000
            os.close(back)
    os.close(batch)


def test_descriptors_belong_to_the_call_they_came_with(market: StandIn) -> None:
    """Of pipelined calls each gets its own, also when its bytes come in several parts."""
    files = [memory_file(b"x" * (n + 1)) for n in range(3)]
    with raw(market.path) as sock:
        sock.sendall(PRICE)
        for number, descriptor in enumerate(files):
            filling = "A" * 200_000 if number == 1 else ""
            parameters = {"id": "a", "slot": 1, "epoch": 0, "descriptor": 0, "data": filling}
            frame = encode_call(f"{T}.Submit", parameters)
            sent = socket.send_fds(sock, [frame], [descriptor])
            sock.sendall(frame[sent:])
            sock.sendall(PRICE)
        assert [answer["parameters"]["slot"] for answer in answers(sock, 7)] == [0, 1, 0, 2, 0, 3, 0]
    for descriptor in files:
        os.close(descriptor)


@pytest.mark.parametrize("count", [1, 4])
def test_descriptors_nobody_asked_for_are_closed(market: StandIn, count: int) -> None:
    """Descriptors with calls that do not want them, with garbage, with half a frame: all are closed."""
    batch = memory_file(b"x")
    before = open_descriptors()
    call = encode_call(f"{T}.Submit", {"id": "a", "slot": 1, "epoch": 0, "descriptor": 9})
    held = encode_call(f"{T}.Sell", order(1, "hold"))
    for data in (PRICE, call, b"garbage\0", b"half", b"half" + PRICE, PRICE[:-1], held, held + PRICE[:5]):
        with raw(market.path) as sock:
            socket.send_fds(sock, [data], [batch] * count)
            if data.endswith(b"\0") and data != held:
                answers(sock, 1)
            else:
                until(lambda: open_descriptors() == before + 2 + count)
        until(lambda: open_descriptors() == before)
    os.close(batch)


def test_too_many_descriptors_are_closed_and_named(market: StandIn) -> None:
    """Five descriptors are one too many: a named error, a closed connection, nothing left open."""
    batch = memory_file(b"x")
    before = open_descriptors()
    for parts in ([5], [253], [3, 3]):
        with raw(market.path) as sock:
            for part in parts[:-1]:
                socket.send_fds(sock, [b"{"], [batch] * part)
                until(lambda part=part: open_descriptors() == before + 2 + part)
            socket.send_fds(sock, [PRICE], [batch] * parts[-1])
            assert answers(sock, 1) == [
                {"error": f"{T}.QuotaExceeded", "parameters": {"what": "descriptors", "limit": 4}}
            ]
            assert sock.recv(1) == b""
        until(lambda: open_descriptors() == before)
    os.close(batch)


def test_descriptors_of_an_answer_to_nobody_are_closed(run_dir: Path) -> None:
    """An answer that cannot leave, because the peer left or does not read, closes what it carries."""
    with StandIn(run_dir / "trade") as market:
        before = open_descriptors()
        with raw(market.path) as gone, raw(market.path) as idle:
            gone.sendall(encode_call(f"{T}.Sell", order(1, "hold")))
            idle.sendall(encode_call(f"{T}.Watch", more=True))
            until(lambda: market.calls and market.watchers)
            gone.close()
            until(lambda: market.calls[0].gone)
            market.calls[0].reply({}, (memory_file(b"x"),))
            market.watchers[0].reply(notice(1, padding=900_000), continues=True)
            market.watchers[0].reply(notice(2), (memory_file(b"y"),), continues=True)
            until(lambda: market.watchers[0].backlog_bytes)
            assert open_descriptors() == before + 3
        until(lambda: open_descriptors() == before)


# ---- coming and going


def test_the_socket_file_has_the_asked_mode_and_goes_with_the_server(run_dir: Path) -> None:
    """Mode 0660 while it serves, no file afterwards."""
    with StandIn(run_dir / "trade") as market:
        found = market.path.lstat()
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o660
    assert list(run_dir.iterdir()) == []


def test_a_dead_socket_file_is_replaced_and_a_live_one_refused(run_dir: Path) -> None:
    """A crash leaves a file that the next start replaces; two servers never share a path."""
    path = run_dir / "trade"
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    with StandIn(path), pytest.raises(listening.InUse, match="answers"):
        listening.listen(path, 0o600, 1)
    path.write_text("a letter")
    with pytest.raises(FileExistsError):
        listening.listen(path, 0o600, 1)
    assert path.read_text() == "a letter"


def test_a_successor_s_file_is_not_removed(run_dir: Path) -> None:
    """A server removes only the file it made."""
    path = run_dir / "trade"
    with StandIn(path):
        path.unlink()
        path.write_text("somebody else's")
    assert path.read_text() == "somebody else's"


def test_stop_sends_what_was_answered(run_dir: Path) -> None:
    """Answers given before stop reach a slow reader; the rest of its calls ends with the connection."""
    with StandIn(run_dir / "trade") as market, raw(market.path) as sock:
        sock.sendall(encode_call(f"{T}.Watch", more=True))
        until(lambda: market.watchers)
        market.watchers[0].reply(notice(1, padding=2_000_000))
        market.server.stop()
        assert len(answers(sock, 2)[1]["parameters"]["notice"]["phase"]) > 2_000_000
        assert sock.recv(1) == b""


def test_answers_that_race_with_the_stop_are_sent_or_dropped(run_dir: Path) -> None:
    """Threads that answer, with descriptors, while the server stops: no error, nothing left open."""
    before = open_descriptors()
    for _ in range(20):
        with StandIn(run_dir / "trade") as market, raw(market.path) as sock:
            sock.sendall(b"".join(encode_call(f"{T}.Sell", order(n, f"hold{n}")) for n in range(64)))
            until(lambda market=market: len(market.calls) == 64)
            calls = iter(market.calls)

            def work(calls: Iterator[Any] = calls) -> None:
                for call in calls:
                    call.reply({}, (memory_file(b"x"),))

            threads = [threading.Thread(target=work) for _ in range(2)]
            for thread in threads:
                thread.start()
            market.server.stop()
        for thread in threads:
            thread.join()
    assert open_descriptors() == before


def test_a_reader_that_never_reads_does_not_hold_up_the_stop(run_dir: Path) -> None:
    """Stop ends within its bound though answers wait."""
    limits = replace(TRADE_LIMITS, flush_s_max=0.2)
    started_s = monotonic_s()
    with StandIn(run_dir / "trade", limits) as market, raw(market.path) as sock:
        sock.sendall(encode_call(f"{T}.Watch", more=True))
        until(lambda: market.watchers)
        market.watchers[0].reply(notice(1, padding=2_000_000), continues=True)
    assert monotonic_s() - started_s < 5


def test_a_server_that_never_ran_leaves_nothing(run_dir: Path) -> None:
    """Close alone gives back descriptors and files, and may be called again."""
    before = open_descriptors()
    server = Server(MAKER).open()
    server.listen(run_dir / "trade", 0o600, lambda _: None, [TRADE_INTERFACE])
    server.close()
    server.close()
    server.stop()
    assert open_descriptors() == before
    assert list(run_dir.iterdir()) == []


def test_inherited_sockets_are_found_by_name(run_dir: Path) -> None:
    """Sockets passed as systemd passes them are served, other descriptors are left, their files stay."""
    program = (
        "import os, sys\n"
        "from energymarket.transport import listening\n"
        "for place, fd in enumerate((*sys.argv[1:], os.open(os.devnull, os.O_RDONLY))):\n"
        "    os.dup2(int(fd), 100 + place)\n"
        "for place in range(3):\n"
        "    os.dup2(100 + place, 3 + place)\n"
        "os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "found = listening.inherited(os.environ, os.getpid())\n"
        "print({name: sock.getsockname() for name, sock in found.items()})\n"
        "print([name for name in os.environ if name.startswith('LISTEN')])\n"
        "print(listening.inherited({'LISTEN_PID': '1', 'LISTEN_FDS': '2'}, os.getpid()))\n"
    )
    with socket.socket(socket.AF_UNIX) as trade, socket.socket(socket.AF_UNIX) as other:
        trade.bind(str(run_dir / "trade"))
        trade.listen()
        ran = subprocess.run(
            [sys.executable, "-c", program, str(trade.fileno()), str(other.fileno())],
            pass_fds=(trade.fileno(), other.fileno()),
            env=os.environ | {"LISTEN_FDS": "3", "LISTEN_FDNAMES": "trade:other:stored"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.stdout.splitlines() == [str({"trade": str(run_dir / "trade")}), "[]", "{}"], ran.stderr


def test_an_adopted_socket_is_served_and_its_file_stays(run_dir: Path) -> None:
    """A server on somebody else's listening socket does not remove its file."""
    path = run_dir / "trade"
    made, _ = listening.listen(path, 0o600, 8)
    server = Server(MAKER).open()
    server.adopt(made, "trade", lambda call: call.reply({"slot": 7}), [TRADE_INTERFACE])
    thread = threading.Thread(target=server.run)
    thread.start()
    with Connection(path) as connection:
        assert connection.call(f"{T}.Price").parameters == {"slot": 7}
    server.stop()
    thread.join()
    assert path.is_socket()


# ---- the client


def test_a_client_without_a_server_says_so(run_dir: Path) -> None:
    """No file, and a file nobody listens at, are Disconnected."""
    with pytest.raises(Disconnected, match="No such file"):
        Connection(run_dir / "trade").open()
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(run_dir / "trade"))
    with pytest.raises(Disconnected, match="refused"):
        Connection(run_dir / "trade").open()


def test_a_late_answer_closes_the_connection(market: StandIn) -> None:
    """After a time-out the connection is closed, so that no late answer is taken for another's."""
    with Connection(market.path, timeout_s=0.1) as connection:
        with pytest.raises(TimedOut):
            connection.call(f"{T}.Sell", order(1, "hold"))
        with pytest.raises(Disconnected):
            connection.call(f"{T}.Price")


def test_a_server_that_accepts_nobody_times_out(run_dir: Path) -> None:
    """A frozen server with a full backlog is TimedOut at connect, not a hang."""
    made, _ = listening.listen(run_dir / "trade", 0o600, 0)
    with made, Connection(run_dir / "trade") as first:
        with pytest.raises(TimedOut):
            first.call(f"{T}.Price", timeout_s=0.1)
        with pytest.raises(TimedOut):
            Connection(run_dir / "trade", timeout_s=0.2).open()


def test_connecting_waits_for_a_server_that_starts(run_dir: Path) -> None:
    """A client that waits connects as soon as the server is there; it gives up when told or in time."""
    stop = threading.Event()
    with pytest.raises(Disconnected):
        connect_when_there(run_dir / "trade", monotonic_s() + 0.2, stop.wait)
    found: list[Connection | None] = []

    def connect() -> None:
        found.append(connect_when_there(run_dir / "trade", monotonic_s() + 10, stop.wait))

    thread = threading.Thread(target=connect)
    thread.start()
    stop.wait(0.15)
    with StandIn(run_dir / "trade"):
        thread.join()
        (connection,) = found
        assert connection is not None
        assert connection.call(f"{T}.Price").parameters["slot"] == 0
        connection.close()
    stop.set()
    assert connect_when_there(run_dir / "trade", monotonic_s() + 10, stop.wait) is None
