"""Ray: a cluster is joined, or a small one started on this machine, and what goes wrong is said in our words.

The only file that imports Ray, and only when it is asked for. Ray is configured by its environment, which
has to stand before its first import; what is set here is taken back when the cluster is left.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from energymarket.engine.joining import environment, explained, foresee, raylet_owners, refuse_foreign_node
from energymarket.engine.player import Player
from energymarket.engine.troupe import Machine, PlayerLost
from energymarket.exits import ConfigError, Exit, Failure
from energymarket.scenario.compiled import CompiledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from energymarket.engine.parcel import Parcel

ANSWER_S_MAX: Final = 120.0
"""A player that plays a slot for longer is as good as lost: a slot takes milliseconds."""

PLACE_S_MAX: Final = 300.0
"""A machine has to start a process, take the scenario, and perhaps play a leg again."""

SOCKET_DIR_BYTES_MAX: Final = 30
"""Ray puts 70 bytes behind its directory, and the address of a Unix socket has room for 107."""


class Resident(Player):
    """A player as an actor of Ray."""

    def machine(self) -> str:
        """See `Player`: the id of a node."""
        context = importlib.import_module("ray").get_runtime_context()
        return str(context.get_node_id())


class RayCluster:
    """A cluster of Ray, for as long as a run lasts."""

    def __init__(self, address: str | None, actors: int | None) -> None:
        """`address` of a cluster's head, HOST:PORT; None: this machine alone, with room for the actors."""
        self._address = address
        self._actors = actors
        self._leaving = contextlib.ExitStack()
        self._ray: Any = None
        self._seen: dict[str, Machine] = {}
        self._beginnings: set[Any] = set()  # promises of players that are only being made
        self._guests: dict[Any, str] = {}  # players by handle: the machine that they were sent to

    # coming and going

    def join(self) -> None:
        """Join, or start. Failure, ConfigError or Unreachable if that cannot be; the message says why."""
        foresee(self._address)
        is_local = self._address is None
        with contextlib.ExitStack() as stack:
            stack.enter_context(environment(is_local=is_local))
            self._ray = importlib.import_module("ray")
            if not self._ray.is_initialized():  # a program that has joined before has us as its guest
                with _signals_kept():
                    if is_local:
                        self._start(stack)
                    else:
                        self._connect(str(self._address), stack)
            self._leaving = stack.pop_all()

    def _start(self, stack: contextlib.ExitStack) -> None:
        _forget_token()
        place = _short_directory()
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        stack.callback(_hushed, self._ray.shutdown)
        _hushed(
            lambda: self._ray.init(
                address="local",
                num_cpus=max(self._actors or 1, len(os.sched_getaffinity(0))),
                include_dashboard=False,
                _temp_dir=str(place),
                **_QUIET,
            )
        )
        _say_nothing()

    def _connect(self, address: str, stack: contextlib.ExitStack) -> None:
        _forget_token()
        try:
            _hushed(lambda: self._refuse_strangers(address))
            refuse_foreign_node(raylet_owners(Path("/proc")))
            stack.callback(_hushed, self._ray.shutdown)
            _hushed(lambda: self._ray.init(address=address, **_QUIET))
        except (self._ray.exceptions.RayError, RuntimeError, OSError, ValueError) as error:
            raise explained(error, address) from error
        _say_nothing()

    def _refuse_strangers(self, address: str) -> None:
        """Ask the head who it is, before Ray does: it would try for 20 s what a wrong token never opens."""
        client = importlib.import_module("ray._raylet").GcsClient(address=address)
        packed = client.internal_kv_get(b"CLUSTER_METADATA", b"cluster")
        theirs = json.loads(packed or b"{}")
        ours = {"ray_version": self._ray.__version__, "python_version": platform.python_version()}
        minor = {name: str(theirs.get(name, "?")).split(".")[:2] for name in ours}
        if theirs.get("ray_version") != ours["ray_version"] or minor["python_version"] != list(
            platform.python_version_tuple()[:2]
        ):
            they, we = (
                f"Ray {each.get('ray_version', '?')} on Python {each.get('python_version', '?')}"
                for each in (theirs, ours)
            )
            raise ConfigError(
                f"the cluster at {address} has {they}, this program {we}",
                "all machines of a cluster need the same Ray and the same Python: install one anew",
            )

    def leave(self) -> None:
        """Leave; a cluster that was started here ends."""
        self._leaving.close()

    @property
    def cpus(self) -> int:
        """Processors of the machines that are there."""
        return max(1, sum(machine.cpus for machine in self.machines() if machine.alive))

    @property
    def library(self) -> Any:  # noqa: ANN401 - Ray's module, once joined
        """Ray itself, for who has other work for the cluster than a run."""
        return self._ray

    def account(self) -> dict[str, Any]:
        """What is told of the cluster."""
        return {"version": self._ray.__version__, "address": self._address or "local"}

    # what a troupe wants: see `Cluster`

    def send(self, parcel: Parcel) -> Any:  # noqa: ANN401
        """See `Cluster`: into the object store, from where each machine takes it once."""
        return self._ray.put(parcel)

    def place(self, parcel: Any, first: int, count: int, slots_max: int, avoided: str) -> Any:  # noqa: ANN401
        """See `Cluster`. Where is our choice: Ray may not know yet that a machine is gone.

        Ray restarts nothing by itself: an actor would begin anew, and nobody would know.
        """
        machine = self._least_busy(avoided)
        affinity = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
        actor = self._ray.remote(Resident).options(
            max_restarts=0, max_task_retries=0, scheduling_strategy=affinity(machine.id, soft=True)
        )
        handle = actor.remote(parcel, first, count, slots_max)
        self._guests[handle] = machine.id
        return handle

    def _least_busy(self, avoided: str) -> Machine:
        """The machine with the fewest players for its processors; a head without processors plays nothing."""
        able = [machine for machine in self.machines() if machine.alive and machine.cpus > 0]
        if not able:
            hint = "energy-ray-worker.service on more machines, or a head with --num-cpus above 0"
            raise Failure("no node of the cluster has a processor for actors", hint, Exit.FAILED)
        guests = list(self._guests.values())
        return min(
            [machine for machine in able if machine.id != avoided] or able,
            key=lambda machine: (guests.count(machine.id) + 1) / machine.cpus,
        )

    def ask(self, handle: Any, what: str, *words: Any) -> Any:  # noqa: ANN401
        """See `Cluster`."""
        promise = getattr(handle, what).remote(*words)
        if what == "begin":
            self._beginnings.add(promise)
        return promise

    def answers(self, promises: Sequence[Any]) -> list[Any]:
        """See `Cluster`. Usually all come at once; one by one, whose fault it is shows."""
        errors = self._ray.exceptions
        wait_s = ANSWER_S_MAX if self._beginnings.isdisjoint(promises) else PLACE_S_MAX
        try:
            return list(self._ray.get(list(promises), timeout=wait_s))
        except errors.RayError:
            return [self._one(promise, errors, wait_s) for promise in promises]
        finally:
            self._beginnings.difference_update(promises)

    def _one(self, promise: Any, errors: Any, wait_s: float) -> Any:  # noqa: ANN401
        try:
            return self._ray.get(promise, timeout=wait_s)
        except errors.RayTaskError as error:
            return _own_error(error)
        except errors.GetTimeoutError:
            return PlayerLost(f"no answer for {wait_s:.0f} s")
        except errors.LocalRayletDiedError as error:
            what = "the Ray node of this machine has died"
            raise Failure(what, "start it again; --resume goes on from the last checkpoint") from error
        except errors.RayError as error:
            return PlayerLost(_reason(error))

    def machines(self) -> list[Machine]:
        """See `Cluster`."""
        for each in self._ray.nodes():
            number, is_alive = each["NodeID"], bool(each["Alive"])
            known = self._seen.get(number)
            if is_alive or known is None:
                cpus = int(each["Resources"].get("CPU", 0))
                known = Machine(
                    number, each["NodeManagerAddress"], each["NodeManagerHostname"], cpus, is_alive
                )
            self._seen[number] = replace(known, alive=is_alive)  # of the dead Ray forgets the processors
        return list(self._seen.values())

    def dismiss(self, handle: Any) -> None:  # noqa: ANN401
        """See `Cluster`."""
        self._guests.pop(handle, None)
        self._ray.kill(handle, no_restart=True)


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Joining, Ray takes SIGTERM for itself, in Python and in C++; whoever had it has it back."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _short_directory() -> Path:
    """A directory of our own for Ray's sockets and logs: its default is one for all users of a machine."""
    usual = tempfile.gettempdir()
    place = usual if len(usual) + 12 <= SOCKET_DIR_BYTES_MAX else "/tmp"  # noqa: S108 mkdtemp makes it safe
    return Path(tempfile.mkdtemp(prefix="er-", dir=place))


# ---------------------------------------------------------------- while it is asked

_QUIET: Final[Mapping[str, Any]] = {
    "log_to_driver": False,
    "logging_level": "ERROR",
    "configure_logging": False,
}


def _hushed(act: Callable[[], object]) -> None:
    """Ray's C++ side writes to standard error what it also raises: here only what is raised counts."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        act()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _forget_token() -> None:
    """A process that has been in another cluster still has that one's token."""
    loader = importlib.import_module("ray._raylet").AuthenticationTokenLoader
    loader.instance().reset_cache()


def _say_nothing() -> None:
    """Of a lost worker Ray prints a paragraph to standard output, which is for our answer."""
    worker: Any = importlib.import_module("ray._private.worker")
    worker.print_to_stdstream = lambda *_words, **_names: None


# ---------------------------------------------------------------- what Ray says


def _reason(error: BaseException) -> str:
    """Why a player is lost, in a few words."""
    text = str(error)
    if type(error).__name__ == "ActorUnavailableError":
        return "its node does not answer"
    if "node has died" in text or "NodeDied" in type(error).__name__ or "node failed" in text.lower():
        return "its node has died"
    if "No module named 'energymarket'" in text:
        return "its node has no energy-market"
    if "process has died" in text or "WorkerCrashed" in type(error).__name__:
        return "its process has died"
    if "memory" in text.lower() and "OutOfMemory" in type(error).__name__:
        return "its node was out of memory"
    first = text.strip().splitlines()[0] if text.strip() else ""
    return f"{type(error).__name__}: {first}"[:200]


def _own_error(error: BaseException) -> BaseException:
    """What a player itself has raised: Ray wraps it."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Failure | CompiledError) else RuntimeError(str(error))
