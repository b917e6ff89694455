"""Plays jobs with one Ray cluster, and says of each what came out; a program, because Ray leaves threads.

    ray_driver.py '{"address": null, "jobs": [{"scenario": "classic", "duration": 40, "shards": 2}]}'

A job may name who is to be killed or stopped when a slot is done: `{"at": 20, "signal": 9, "actor": 1}`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from energymarket.engine import api, cluster
from energymarket.engine.folder import Folder


def run(job: dict[str, Any], address: str | None) -> dict[str, Any]:
    """Play a job over Ray and in this process; the document over Ray, with the other's hash beside."""
    compiled = api.compiled_of(job["scenario"], job.get("homes"), None)
    duration, blow = job.get("duration"), job.get("blow")
    with tempfile.TemporaryDirectory() as place:
        folder = Folder(Path(place))
        plan = api.plan_of(
            compiled, folder, duration=duration, engine="ray", shards=job["shards"], address=address
        )
        actors: list[int] = []

        def noted(sentence: str) -> None:
            del sentence

        def told(done: int, _total: int) -> None:
            if blow and done >= blow["at"] and not actors:
                actors.extend(pids())
                os.kill(actors[blow["actor"]], blow["signal"])

        with folder.held():
            document = api.play(plan, folder, told=told, noted=noted)
        document["embedded_hash"] = api.simulate(compiled, duration=duration, engine="embedded").ledger_hash
        document["struck"] = actors[blow["actor"]] if blow and actors else 0
        return document


def pids() -> list[int]:
    """Processes of the actors on this machine, in the order of their births."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            is_actor = (entry / "cmdline").read_bytes().startswith(b"ray::Resident")
        except OSError:
            continue
        if is_actor and f"RAY_TMPDIR={os.environ['RAY_TMPDIR']}".encode() in (
            entry / "environ"
        ).read_bytes().split(b"\0"):
            found.append(int(entry.name))
    return sorted(found)


def main() -> None:
    """Join once: the runs are its guests."""
    given = json.loads(sys.argv[1])
    cluster.ANSWER_S_MAX = given.get("answer_s_max", cluster.ANSWER_S_MAX)  # type: ignore[misc]
    joined = cluster.RayCluster(given["address"], 4)
    joined.join()
    try:
        print(json.dumps([run(job, given["address"]) for job in given["jobs"]]))
    finally:
        joined.leave()


if __name__ == "__main__":
    main()
