"""Where a command is typed is no place for its modules: a package that lies there is never imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.ipc.suite_fixture import ROOT, real_at

pytestmark = pytest.mark.timeout(180)

VERBS = (
    ("ledger", "check", "--state", "nowhere"),
    ("ledger", "verify", "--state", "nowhere"),
    ("ledger", "backup", "--state", "nowhere"),
    ("ledger", "restore", "nothing.tar", "--state", "nowhere"),
    ("scenario", "compile", "classic"),
    ("bug-report", "-o", "report.tar.gz"),
    ("up", "classic", "--for", "2", "--speed", "9000", "--state", "state"),
    ("up", "default", "--for", "2", "--speed", "9000", "--state", "state"),
)
"""Every way from a verb to a program; `up` has the market with its child, and a pool with its shards."""


@pytest.mark.parametrize("words", VERBS, ids=lambda words: " ".join(words[:2]))
def test_a_package_in_the_current_directory_is_never_imported(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Somebody has left an `energymarket` where an administrator stands: it stays unread."""
    here = tmp_path / "here"
    for name in ("energymarket", "energyctl"):
        (here / name).mkdir(parents=True)
        (here / name / "__init__.py").write_text(
            "from pathlib import Path\n(Path(__file__).parents[1] / 'imported').touch()\nraise SystemExit\n"
        )
    place = real_at(tmp_path)
    command = [sys.executable, "-P", *place.command(*words)[1:]]
    ended = subprocess.run(command, cwd=here, env=place.environ, capture_output=True, text=True, check=False)
    assert not (here / "imported").exists()
    assert ended.returncode in ({0} if words[0] in {"up", "bug-report", "scenario"} else {4}), ended.stderr


@pytest.mark.parametrize("flag", ["-I", "-P"])
def test_who_is_isolated_starts_only_what_is(flag: str) -> None:
    """The installed commands run by -I, where PYTHONPATH has no say: it has none in their programs."""
    body = (
        f"import sys; sys.path[:0] = [{str(ROOT / 'ctl')!r}, {str(ROOT / 'daemons')!r}]\n"
        "from energyctl.programs import python\nfrom energymarket.runtime.child import interpreter\n"
        "print(python('checkd', '--json')[1:], interpreter()[1])"
    )
    said = subprocess.run(
        [sys.executable, flag, "-c", body], capture_output=True, text=True, check=True
    ).stdout
    assert said.strip() == f"{[flag, '-m', 'energymarket.checkd', '--json']} {flag}"
