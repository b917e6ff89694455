"""The run's System V objects: made once, found again, removed exactly, never somebody else's."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sysv_ipc

from energymarket.exits import Exit
from energymarket.transport import resources
from energymarket.transport.ipc_record import RECORD, boot_id
from energymarket.transport.resources import Ipc, Kind, ResourceError, ResourcesMissingError
from tests.ipc.processes import PRELUDE, environment, process

pytestmark = pytest.mark.usefixtures("no_ipc_left")


@pytest.fixture
def ipc(run_dir: Path) -> Iterator[Ipc]:
    yield resources.ensure(run_dir)
    resources.remove(run_dir)


def kernel(table: str) -> dict[int, list[str]]:
    """Key -> line of a table of /proc/sysvipc, which is the kernel's own word."""
    lines = Path("/proc/sysvipc", table).read_text().splitlines()[1:]
    return {int(line.split()[0]): line.split() for line in lines}


def rewrite(run_dir: Path, **changes: object) -> None:
    path = run_dir / RECORD
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_kernel_holds_what_the_record_says(ipc: Ipc, run_dir: Path) -> None:
    """One queue of 16 KiB, two semaphores, two segments; 0660, the pages 0640; the file is 0640."""
    queue = kernel("msg")[ipc.key(Kind.QUEUE)]
    assert (int(queue[1]), queue[2]) == (ipc.queue, "660")
    assert sysv_ipc.MessageQueue(ipc.key(Kind.QUEUE)).max_size == 16_384
    assert kernel("sem")[ipc.key(Kind.MUTEX)][1:4] == [str(ipc.mutex), "660", "1"]
    assert kernel("sem")[ipc.key(Kind.BELL)][1:4] == [str(ipc.bell), "660", "1"]
    assert kernel("shm")[ipc.key(Kind.CLOCK)][1:3] == [str(ipc.clock), "640"]
    assert kernel("shm")[ipc.key(Kind.BOARD)][1:3] == [str(ipc.board), "640"]
    assert stat.S_IMODE((run_dir / RECORD).stat().st_mode) == 0o640
    assert {each["kind"]: each["exists"] for each in resources.describe(run_dir)} == dict.fromkeys(Kind, True)


def test_a_second_start_finds_the_same_objects(ipc: Ipc, run_dir: Path) -> None:
    """`ensure` twice, and `attach`, answer the same objects; nothing new is made."""
    before = [kernel(table) for table in ("msg", "sem", "shm")]
    assert resources.ensure(run_dir) == ipc == resources.attach(run_dir)
    assert [list(kernel(table)) for table in ("msg", "sem", "shm")] == [list(each) for each in before]
    assert not resources.changed(ipc)


def test_remove_leaves_nothing_and_twice_is_allowed(run_dir: Path) -> None:
    """After `remove` no object and no file of the run is left."""
    resources.ensure(run_dir)
    assert resources.remove(run_dir) == list(Kind)
    assert resources.remove(run_dir) == []
    assert list(run_dir.iterdir()) == []
    with pytest.raises(ResourcesMissingError):
        resources.attach(run_dir)


def test_only_what_vanished_is_made_anew(ipc: Ipc, run_dir: Path) -> None:
    """A queue removed by `ipcrm` is replaced; page and board stay, so that nobody who reads them notices."""
    sysv_ipc.remove_message_queue(ipc.queue)
    with pytest.raises(ResourcesMissingError):
        resources.attach(run_dir)
    again = resources.ensure(run_dir)
    assert again.queue != ipc.queue or again.key(Kind.QUEUE) != ipc.key(Kind.QUEUE)
    assert (again.clock, again.board, again.cookie) == (ipc.clock, ipc.board, ipc.cookie)
    assert resources.changed(ipc)


def test_another_boot_means_other_objects(ipc: Ipc, run_dir: Path) -> None:
    """Objects recorded before a reboot are not touched, whatever has their keys now."""
    text = (run_dir / RECORD).read_text()
    rewrite(run_dir, boot_id="00000000-0000-0000-0000-000000000000")
    again = resources.ensure(run_dir)
    assert again.boot_id == boot_id()
    assert set(kernel("msg")) >= {ipc.key(Kind.QUEUE), again.key(Kind.QUEUE)}
    resources.remove(run_dir)
    assert ipc.key(Kind.QUEUE) in kernel("msg")
    (run_dir / RECORD).write_text(text)


def test_somebody_elses_objects_are_left_alone(ipc: Ipc, run_dir: Path) -> None:
    """A segment with our key but not our cookie, and a queue with another id, are not ours to remove."""
    text = (run_dir / RECORD).read_text()
    rewrite(run_dir, cookie="0000000000000001", queue={"key": ipc.key(Kind.QUEUE), "id": ipc.queue + 1})
    with pytest.raises(ResourcesMissingError):
        resources.attach(run_dir)
    assert resources.remove(run_dir) == [Kind.MUTEX, Kind.BELL]
    assert ipc.key(Kind.QUEUE) in kernel("msg")
    assert {ipc.key(Kind.CLOCK), ipc.key(Kind.BOARD)} <= set(kernel("shm"))
    (run_dir / RECORD).write_text(text)


def test_a_creation_cut_short_leaves_nothing_unknown(ipc: Ipc, run_dir: Path) -> None:
    """Objects whose id was not yet recorded when their maker was killed are replaced, not leaked."""
    keys = {kind: ipc.key(kind) for kind in Kind}
    rewrite(run_dir, **{kind: {"key": key, "id": None} for kind, key in keys.items()})
    again = resources.ensure(run_dir)
    assert not {again.key(kind) for kind in Kind} & set(keys.values())
    for table in ("msg", "sem", "shm"):
        assert not set(kernel(table)) & set(keys.values())


def test_kill_minus_nine_while_creating_and_removing(run_dir: Path) -> None:
    """SIGKILL at any instant of create and remove: the next remove leaves nothing behind."""
    body = """
ready()
while True:
    resources.ensure(Path(sys.argv[1]))
    resources.remove(Path(sys.argv[1]))
"""
    for nth in range(15):
        with process(body, run_dir) as running:
            with pytest.raises(subprocess.TimeoutExpired):
                running.wait(0.003 * nth)
            running.kill()
        resources.ensure(run_dir)
        resources.remove(run_dir)


def test_two_starts_at_once_make_one_set(run_dir: Path) -> None:
    """Eight processes that start at the same moment share one set of objects."""
    body = "from pathlib import Path; import sys; from energymarket.transport import resources as r; "
    body += "print(r.ensure(Path(sys.argv[1])).objects)"
    command = [sys.executable, "-c", body, str(run_dir)]
    starts = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) for _ in range(8)]
    answers = {start.communicate(timeout=60)[0] for start in starts}
    assert [start.returncode for start in starts] == [0] * 8
    assert len(answers) == 1
    assert sorted(each.name for each in run_dir.iterdir()) == [RECORD]
    resources.remove(run_dir)


def test_a_broken_record_is_an_error_with_advice(run_dir: Path) -> None:
    """Garbage in ipc.json is told, with the file's name; nothing is removed on its word."""
    for text in ("", "{", "[]", '{"version": 2}', '{"version": 1, "cookie": 5}', "\0" * 100):
        (run_dir / RECORD).write_text(text)
        with pytest.raises(ResourceError, match=r"ipc\.json"):
            resources.ensure(run_dir)


def test_a_directory_that_everybody_may_write_is_refused(run_dir: Path) -> None:
    """In a directory with o+w anybody could put another record."""
    run_dir.chmod(0o777)
    with pytest.raises(ResourceError, match="chmod o-w"):
        resources.ensure(run_dir)


@pytest.mark.needs("root")
def test_users_of_their_own(run_dir: Path) -> None:
    """Handed over by IPC_SET: the board belongs to the weather's user, the rest to the market's."""
    ipc = resources.ensure(run_dir, 0o660, resources.Share(gid=4001, market_uid=4002, weather_uid=4003))
    try:
        owners = {each["kind"]: each["owner"] for each in resources.describe(run_dir)}
        assert owners == {"queue": 4002, "mutex": 4002, "bell": 4002, "clock": 4002, "board": 4003}
        run_dir.chmod(0o755)
        body = """
os.setgroups([]); os.setgid(4001); os.setuid(int(sys.argv[2]))
ipc = resources.attach(Path(sys.argv[1]))
page.BoardReader(ipc).close()
try:
    page.BoardWriter(ipc).close()
    print("writes")
except resources.ResourceError as error:
    print("reads", int(error.code))
"""
        for uid, can in ((4003, "writes"), (4004, f"reads {int(Exit.PERMISSION)}")):
            command = [sys.executable, "-c", PRELUDE + body, str(run_dir), str(uid)]
            answer = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
            assert answer.stdout.strip() == can
    finally:
        assert len(resources.remove(ipc.run_dir)) == 5


def test_the_program_makes_lists_and_removes(run_dir: Path) -> None:
    """energy-ipc create, list, remove: exit 0, JSON on request, nothing left."""

    def ran(verb: str) -> list[dict[str, object]]:
        command = [sys.executable, "-m", "energymarket.anchor", verb, "--run", str(run_dir), "--json"]
        answer = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
        return list(json.loads(answer.stdout))

    assert ran("list") == []
    assert [row["kind"] for row in ran("create")] == [*Kind]
    assert all(row["exists"] for row in ran("list"))
    assert [row["state"] for row in ran("remove")] == ["removed"] * 5
    assert ran("remove") == []
