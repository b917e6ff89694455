"""The dispatcher's protocol by hand, who is let in, crowds, relay: with workers as processes."""

from __future__ import annotations

import json
import resource
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from energymarket.dispatch.limits import ACCEPT_PAUSE_S, LINE_BYTES_MAX, QUEUE_WAIT_S, RESULT_BYTES_MAX
from energymarket.runtime import clock
from tests.ipc.dispatch_place import (
    Line,
    Place,
    eventually,
    exchange,
    place,
    served,
    where,
)
from tests.ipc.processes import pass_time

NO_TICKET = "no service without a ticket"


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Four workers; a ticket is valid for 2 s, so that a test can wait for its end."""
    with place(tmp_path_factory.mktemp("four"), 4, "--ticket-s", "2", "--queue", "40") as made:
        yield made


# ---- the protocol by hand


def test_a_type_gives_a_port_and_the_port_an_answer_again_and_again(four: Place) -> None:
    """The bare port is answered at once and closed; the first connection goes on with the next request."""
    with Line(four.port) as client:
        for _ in range(3):
            port = int(client.ask("hello"))
            assert port > 2222
            with Line(port) as worker:
                assert worker.rest()[0].startswith("hello from ")
            with pytest.raises(ConnectionRefusedError):  # valid once
                Line(port)
        port, ticket = where(client.ask("echo"))
        assert exchange(port, ticket, '{"é": 1}') == [{"result": {"é": 1}}]
        port, ticket = where(client.ask("echo"))
        assert exchange(port, ticket, "") == [{"result": {}}]
        port, ticket = where(client.ask('echo {"said": "to the dispatcher"}'))
        assert exchange(port, ticket, "") == [{"result": {"said": "to the dispatcher"}}]


@pytest.mark.parametrize("words", [b"hello\n", b"HELLO\r\n", b"  Hello \r\n", b"hello"])
def test_however_it_is_typed_it_is_understood(four: Place, words: bytes) -> None:
    """CRLF, upper case, spaces, one byte at a time; without an end the end of the stream is one."""
    with Line(four.port) as client:
        for byte in words:
            client.send(bytes([byte]))
        if not words.endswith(b"\n"):
            client.sock.shutdown(socket.SHUT_WR)
        with Line(int(client.line())) as worker:
            assert worker.line().startswith("hello from ")


def test_two_requests_in_one_packet_have_two_answers_in_order(four: Place) -> None:
    """The second is answered after the first, by another worker or the same; both are served."""
    with Line(four.port) as client:
        client.send(b"hello\necho\nnonsense\n")
        first, second, third = client.line(), client.line(), client.line()
        assert third.startswith("-1 unknown request type")
        port, ticket = where(second)
        assert exchange(port, ticket, '{"a":1}') == [{"result": {"a": 1}}]
        with Line(int(first)) as worker:
            assert worker.line().startswith("hello from ")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"\n", "-1 empty line"),
        (b"nonsense\n", '-1 unknown request type "nonsense": say one of echo, '),
        (b"\xff\xfe\x00\n", "-1 unknown request type"),
        (b"x" * LINE_BYTES_MAX + b"\n", "-1 line too long"),
        (b"x" * 10 * LINE_BYTES_MAX + b"\n", "-1 line too long"),
        (b"echo {no json}\n", '-1 "{no json}" is no JSON'),
        (b'echo {"a": "' + b"x" * 65_400 + b'"}\n', "-1 the task has"),
    ],
)
def test_what_is_no_request_is_told_and_the_connection_goes_on(four: Place, line: bytes, said: str) -> None:
    """Each wrong line has one clear answer, and the next request on the connection is served."""
    with Line(four.port) as client:
        client.send(line)
        assert client.line().startswith(said)
        with Line(int(client.ask("hello"))) as worker:
            assert worker.line().startswith("hello from ")


@pytest.mark.parametrize(
    ("question", "what"),
    [
        ("[1]", "the question is none"),
        ("{", "the question is none"),
        ("x" * 70_000, "the question is too long"),
        ('{"refuse": true}', "it is refused"),
        ('{"fault": true}', "large failed"),
    ],
)
def test_an_exchange_without_a_result_ends_with_one_error(four: Place, question: str, what: str) -> None:
    """What, why and what to do, as one line of JSON; a bug in a request type costs nobody else anything."""
    with Line(four.port) as client:
        port, ticket = where(client.ask("large"))
        (answer,) = exchange(port, ticket, question)
        assert answer["error"].keys() == {"what", "why", "do"}
        assert answer["error"]["what"] == what
    assert all(worker["restarts"] == 0 for worker in four.workers().values())


# ---- who is let in


def test_without_the_ticket_is_no_service_and_the_rightful_one_is_served(four: Place) -> None:
    """Wrong, empty, missing and endless tickets are told so and keep nobody out."""
    with Line(four.port) as client:
        port, ticket = where(client.ask("echo"))
        silent = [Line(port) for _ in range(20)]  # more than the anteroom holds
        for wrong in (b"\n", b"wrong\n", ticket.lower().encode() + b"x\n", b"x" * 70_000):
            with Line(port) as thief:
                thief.send(wrong)
                assert json.loads(thief.line())["error"]["what"] == NO_TICKET
        assert exchange(port, ticket, '{"mine": 1}') == [{"result": {"mine": 1}}]
        for each in silent:
            said = [json.loads(line)["error"]["what"] for line in each.rest()]
            assert said in ([NO_TICKET], ["too late"])
            each.close()


def test_a_bare_port_is_for_the_address_that_asked(four: Place) -> None:
    """Whoever comes from another address is told so; the one that asked is served after it."""
    with Line(four.port) as client:
        port = int(client.ask("hello"))
        with Line(port, source="127.0.0.2") as thief:
            assert thief.rest() == ["-1 this port is for another address: ask the dispatcher for one"]
        with Line(port) as worker:
            assert worker.line().startswith("hello from ")


def test_who_takes_a_ticket_and_never_comes_frees_the_worker(four: Place) -> None:
    """After the ticket's time the port is closed and the worker idle; it was counted."""
    before = four.ask("Status")["expired"]
    with Line(four.port) as client:
        ports = [where(client.ask("echo"))[0] for _ in range(4)]
        begun_s = clock.monotonic_s()
        port, ticket = where(client.ask("echo"))  # all workers wait for somebody: it is queued
        assert clock.monotonic_s() - begun_s > 1.0
        assert exchange(port, ticket) == [{"result": {}}]
    eventually(four.all_idle, "the workers are free")
    assert four.ask("Status")["expired"] == before + 4
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            Line(port)


# ---- crowds


def test_a_hundred_at_once_are_served_or_told_busy_and_share_no_ticket(four: Place) -> None:
    """Each gets the answer to its own question, or is told that all are busy; nobody hangs."""

    def one(number: int) -> tuple[str, object]:
        with Line(four.port) as client:
            answer = client.ask("echo")
            if answer.startswith("-1 busy"):
                return "busy", None
            port, ticket = where(answer)
            return ticket, exchange(port, ticket, f'{{"n": {number}}}')[-1]

    with ThreadPoolExecutor(100) as crowd:
        found = list(crowd.map(one, range(100)))
    told = {ticket: answer for ticket, answer in found if ticket != "busy"}
    assert len(told) == sum(ticket != "busy" for ticket, _ in found)
    assert len(told) >= 44  # four at work and forty in the queue, at least
    for number, (ticket, answer) in enumerate(found):
        assert ticket == "busy" or answer == {"result": {"n": number}}


def test_who_hangs_up_in_the_queue_leaves_its_place_to_others(tmp_path: Path) -> None:
    """All places are free at once, not after the time to wait; who only ended its side has an answer."""
    words = ("--ticket-s", "60", "--queue", "8")
    with place(tmp_path / "one", 1, *words) as made, Line(made.port) as first, Line(made.port) as late:
        port, ticket = where(first.ask("echo"))  # nobody comes for it yet
        crowd = [Line(made.port) for _ in range(8)]
        for each in crowd:
            each.send(b"echo\n")
        eventually(lambda: made.ask("Status")["waiting"] == 8, "the queue is full")
        crowd[0].sock.shutdown(socket.SHUT_WR)
        assert crowd[0].line().startswith("-1 busy: no worker is free now")
        for each in crowd:
            each.close()
        eventually(lambda: made.ask("Status")["waiting"] == 0, "they are gone", wait_s=QUEUE_WAIT_S / 3)
        late.send(b"echo\n")
        assert exchange(port, ticket) == [{"result": {}}]
        assert exchange(*where(late.line())) == [{"result": {}}]
        eventually(lambda: made.ask("Status")["served"] == 2, "both are counted")


def open_files(made: Place) -> dict[str, int]:
    """Open files of each process while nobody is there; those who ask how it is come and go meanwhile."""
    eventually(lambda: made.all_idle() and made.ask("Status")["clients"] == 0, "nobody is there")
    looks = []
    for _ in range(25):
        looks.append([sum(1 for _ in Path(f"/proc/{made.pid(name)}/fd").iterdir()) for name in made.kept])
        pass_time(0.02)
    return dict(zip(made.kept, map(min, zip(*looks, strict=True)), strict=True))


def test_a_thousand_requests_gain_no_descriptor(four: Place) -> None:
    """Served, refused, mistyped, given up: afterwards each process has the open files it had."""
    with ExitStack() as stack:
        clients = [stack.enter_context(Line(four.port)) for _ in four.workers()]
        tickets = [where(client.ask("echo")) for client in clients]  # each worker has had its first task
        assert [exchange(*each) for each in tickets] == [[{"result": {}}]] * len(tickets)
    before, count = open_files(four), four.ask("Status")["served"]

    def many(_: int) -> None:
        with Line(four.port) as client:
            for turn in range(125):
                port, ticket = where(client.ask("echo"))
                if turn % 25 == 24:
                    assert "error" in exchange(port, "wrong")[0]
                    assert client.ask("nonsense").startswith("-1")
                assert exchange(port, ticket, f'{{"n": {turn}}}') == [{"result": {"n": turn}}]

    with ThreadPoolExecutor(8) as crowd:
        list(crowd.map(many, range(8)))
    assert open_files(four) == before
    assert four.ask("Status")["served"] == count + 1000


def test_without_descriptors_clients_wait_and_one_line_says_so(tmp_path: Path) -> None:
    """Nobody is refused, those who are in are served, and all are accepted as soon as there is room."""
    with place(tmp_path / "full", 1) as made:
        pid = made.pid("dispatcher")
        soft = max(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()) + 4  # three are free
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        log = made.path / "dispatcher.log"
        with ExitStack() as stack:
            crowd = [stack.enter_context(Line(made.port)) for _ in range(20)]
            eventually(lambda: "no client can be accepted" in log.read_text(), "it has none left")
            assert crowd[0].ask("nonsense").startswith("-1 unknown")
            pass_time(5 * ACCEPT_PAUSE_S)
            assert log.read_text().count("accepted") == 1
        served(made)
        eventually(lambda: "all clients are accepted again" in log.read_text(), "they have left")
        assert log.read_text().count("accepted") == 2


# ---- relay


def test_relayed_results_come_through_the_dispatcher(tmp_path: Path) -> None:
    """On the first connection: results, refusals and the classic names; too long, late, dead: errors."""
    with place(tmp_path / "relay", 1, "--mode", "relay", "--deadline-s", "2") as made, Line(made.port) as one:
        assert json.loads(one.ask('echo {"a": "é"}')) == {"result": {"a": "é"}}
        assert json.loads(one.ask("echo")) == {"result": {}}
        assert one.ask("hello") == f"hello from {made.pid('worker-1')}"
        assert json.loads(one.ask('large {"refuse": 1}'))["error"]["do"] == "do not ask"
        fits = RESULT_BYTES_MAX - 100
        assert len(json.loads(one.ask(f'large {{"bytes": {fits}}}'))["result"]["text"]) == fits
        told = json.loads(one.ask(f'large {{"bytes": {RESULT_BYTES_MAX}}}'))["error"]
        assert told["what"] == "the result cannot be relayed"
        late = json.loads(one.ask('nap {"s": 30}'))["error"]
        assert "2 s" in late["why"]
        one.send(b'nap {"s": 30}\necho {"next": 1}\n')
        eventually(lambda: made.workers()[1]["state"] == "serving", "it naps")
        made.signal("worker-1", signal.SIGKILL)
        assert one.line().startswith("-1 the worker died while it worked")
        assert json.loads(one.line()) == {"result": {"next": 1}}


def test_a_client_that_reads_in_drops_keeps_a_worker_no_longer_than_the_deadline(tmp_path: Path) -> None:
    """It takes some bytes in each turn, so it never stalls; the exchange ends all the same."""
    with place(tmp_path / "drops", 1, "--deadline-s", "4") as made, Line(made.port) as one:
        port, ticket = where(one.ask("large"))
        with Line(port) as drops:
            drops.send(f'{ticket}\n{{"bytes": 24000000}}\n'.encode())  # more than all buffers between us
            assert drops.sock.recv(4_096)  # it has begun to answer: the deadline is for the reading now

            def drop() -> bool:
                assert drops.sock.recv(4_096)
                return bool(made.workers()[1]["state"] == "idle")

            eventually(drop, "the deadline counts for the reading too")
