"""The completion in real shells: what TAB offers, with a market, without one, and with a frozen one."""

from __future__ import annotations

import os
import pty
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from energyctl import verbs
from energyctl.verbs import completion
from energyctl.verbs.completion import Shell, Source
from energymarket.runtime import clock
from energymarket.scenario import toml
from tests.ipc.suite_fixture import ROOT, Suite, suite_at

pytestmark = pytest.mark.timeout(120)
FILES = ROOT / "ctl/energyctl/completion"
ANSWER_S = 10


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A market that runs while this module's tests ask it, and an energyctl on the path."""
    suite = with_program(suite_at(tmp_path_factory.mktemp("tab")))
    with suite.running():
        yield suite


@pytest.fixture
def nobody(tmp_path: Path) -> Suite:
    """A place where no market runs."""
    return with_program(suite_at(tmp_path))


def with_program(suite: Suite) -> Suite:
    """The place with an `energyctl` that a shell finds, and some files to complete."""
    program = suite.path / "bin" / "energyctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m energyctl "$@"\n')
    program.chmod(0o755)
    suite.environ["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    (suite.path / "files" / "directory").mkdir(parents=True)
    (suite.path / "files" / "my own.toml").touch()
    (suite.path / "files" / "my.toml").touch()
    return suite


def script(shell: str, text: str, suite: Suite) -> list[str]:
    """Lines that a script answers in a shell without anybody's settings."""
    command = {"bash": ["bash", "--norc", "-c"], "fish": ["fish", "--no-config", "-c"]}[shell]
    done = subprocess.run(
        [*command, text],
        env=suite.environ,
        cwd=suite.path / "files",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def in_bash(line: str, suite: Suite) -> list[str]:
    """What bash offers at the end of a line, whose words are split as bash's readline splits them."""
    words = [word for word in re.split(r"\s+|(=)", line) if word]
    words += [""] if line.endswith(" ") else []
    quoted = " ".join(f"'{word}'" for word in words)
    text = (
        f"source {FILES / 'energyctl.bash'}; COMP_WORDS=({quoted}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        "_energyctl energyctl; (( ${#COMPREPLY[@]} )) && printf '%s\\n' \"${COMPREPLY[@]}\"; :"
    )
    return script("bash", text, suite)


def in_fish(line: str, suite: Suite) -> list[str]:
    """What fish offers at the end of a line, without the descriptions."""
    found = script("fish", f"source {FILES / 'energyctl.fish'}; complete -C '{line}'", suite)
    return [each.partition("\t")[0] for each in found]


OFFERS = {"bash": in_bash, "fish": in_fish}
BOTH = [pytest.param(name, marks=pytest.mark.needs(name)) for name in OFFERS]


@pytest.mark.parametrize("shell", BOTH)
def test_the_verbs_are_offered_and_narrowed(shell: str, nobody: Suite) -> None:
    """All verbs at first, the verbs of a group behind it, also behind options that hold everywhere."""
    offers = OFFERS[shell]
    assert set(offers("energyctl ", nobody)) == set(verbs.MODULES)
    assert set(offers("energyctl event ", nobody)) == {"list", "raise", "clear"}
    assert offers("energyctl --json --run /nowhere event ra", nobody) == ["raise"]
    assert offers("energyctl version ", nobody) == []


@pytest.mark.parametrize("shell", BOTH)
def test_options_are_those_of_the_verb(shell: str, nobody: Suite) -> None:
    """The verb's own and those that hold everywhere; --state takes a value in `up` and none in `reset`."""
    offers = OFFERS[shell]
    everywhere = {"--json", "--run", "--help"}
    assert set(offers("energyctl event raise --", nobody)) == {"--intensity", "--for"} | everywhere
    assert set(offers("energyctl status --", nobody)) == {"--user"} | everywhere
    assert [each.rstrip("/") for each in offers("energyctl up --state d", nobody)] == ["directory"]
    assert offers("energyctl reset --state d", nobody) == []


@pytest.mark.parametrize("shell", BOTH)
def test_values_are_offered_by_kind(shell: str, nobody: Suite) -> None:
    """Scenarios and files, directories alone, words, methods, units; nothing where a number is wanted."""
    offers = OFFERS[shell]
    assert set(offers("energyctl up pencil-s", nobody)) == {
        n for n in toml.shipped() if n.startswith("pencil-s")
    }
    assert set(offers("energyctl config check my.", nobody)) == {"my.toml"}
    assert [each.rstrip("/") for each in offers("energyctl ledger export ", nobody)] == ["directory"]
    assert set(offers("energyctl completion ", nobody)) == set(Shell)
    assert offers("energyctl call Verif", nobody) == ["Verify"]
    assert offers("energyctl logs -u energy-market.s", nobody) == ["energy-market.service"]
    assert offers("energyctl logs --unit=energy-h", nobody)[0].endswith("energy-homes.service")
    assert offers("energyctl restart energy-weather energy-homes.s", nobody) == ["energy-homes.service"]
    assert offers("energyctl price --last ", nobody) == []


@pytest.mark.needs("bash")
def test_a_name_with_a_blank_is_one_word(nobody: Suite) -> None:
    """Files are offered whole, whatever is in their names."""
    assert set(in_bash("energyctl config check my", nobody)) == {"my own.toml", "my.toml"}


@pytest.mark.parametrize("shell", BOTH)
def test_a_running_market_is_asked(shell: str, market: Suite) -> None:
    """Kinds of events and numbers of homes are those of the market that --run means."""
    offers = OFFERS[shell]
    kinds = set(market.ctl("completion", "bash", "--words", "kinds").stdout.split())
    assert "gas_shortage" in kinds
    run = f"--run {market.run}"
    assert set(offers(f"energyctl {run} event raise ", market)) == kinds
    assert offers(f"energyctl event raise --run={market.run} gas", market) == ["gas_shortage"]
    assert offers(f"energyctl homes {run} 1", market)[0] == "1"


@pytest.mark.parametrize("shell", BOTH)
def test_without_a_market_nothing_is_said(shell: str, nobody: Suite) -> None:
    """No words, and no error in the middle of somebody's line."""
    offers = OFFERS[shell]
    assert offers(f"energyctl --run {nobody.run} event raise ", nobody) == []
    assert offers(f"energyctl --run {nobody.run} homes ", nobody) == []


@pytest.mark.parametrize("source", Source)
def test_words_are_asked_for_in_bounded_time(source: Source, nobody: Suite) -> None:
    """A market that accepts and never answers costs a moment, and no error is shown."""
    nobody.run.mkdir()
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(str(nobody.run / "control"))
        frozen.listen()
        began_s = clock.monotonic_s()
        done = nobody.ctl("completion", "bash", "--words", source)
        assert clock.monotonic_s() - began_s < 2.5  # a start of Python, and the wait
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (source is Source.UNITS)


@pytest.mark.parametrize("shell", Shell)
def test_the_verb_prints_the_file(shell: Shell, nobody: Suite) -> None:
    """`energyctl completion SHELL` is what packages install, to the byte."""
    done = nobody.ctl("completion", shell)
    assert done.stdout == (FILES / completion.FILES[shell]).read_text()


# ---------------------------------------------------------------- with somebody at the keys


def shown(written: str) -> str:
    """What was written to a terminal, without escapes and without what was rubbed out."""
    return re.sub(r"[^\x08]\x08", "", re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", written))


class Terminal:
    """A shell on a terminal of its own, and somebody who types."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.screen = ""

    def types(self, text: str, wanted: str) -> None:
        """Type, and wait for what must appear."""
        self.screen = ""
        os.write(self._fd, text.encode())
        deadline_ns = clock.boottime_ns() + ANSWER_S * clock.NS_PER_S
        while not re.search(wanted, shown(self.screen)):
            assert clock.wait_readable(self._fd, deadline_ns), f"{text!r} came to {self.screen!r}"
            self.screen += os.read(self._fd, 65_536).decode(errors="replace")


@contextmanager
def terminal(words: list[str], suite: Suite) -> Iterator[Terminal]:
    """A shell that reads from a terminal; hung up at the end."""
    master, slave = pty.openpty()
    environ = {**suite.environ, "TERM": "dumb", "PS1": "ready> ", "COLUMNS": "200", "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        ["setsid", "--ctty", *words],
        stdin=slave, stdout=slave, stderr=slave, env=environ, cwd=suite.path / "files",
    ) as process:  # fmt: skip
        os.close(slave)
        try:
            yield Terminal(master)
        finally:
            process.kill()
            os.close(master)


@pytest.mark.needs("bash")
def test_in_bash_the_key_completes_a_line(market: Suite) -> None:
    """Readline and the function together: verbs, and a value behind an equals sign."""
    with terminal(["bash", "--norc", "-i"], market) as shell:
        shell.types(f"PS1='ready> '; source {FILES / 'energyctl.bash'}\n", r"bash\r\n.*ready> ")
        shell.types("energyctl ev\tra\t", "energyctl event raise ")
        shell.types("\x15", "")
        shell.types(f"energyctl --run={market.run} event raise gas\t", "raise gas_shortage ")


@pytest.mark.needs("zsh")
def test_in_zsh_the_key_completes_a_line(market: Suite) -> None:
    """The file is found by its first line; verbs, options, words of the market."""
    with terminal(["zsh", "-f", "-i"], market) as shell:
        shell.types("PS1='ready''> ' LISTMAX=1000; setopt no_beep\n", "ready> ")
        shell.types(
            f"fpath=({FILES} $fpath); autoload -Uz compinit; compinit -u -D; echo lo''aded\n", "loaded"
        )
        shell.types("energyctl ev\tra\t", "energyctl event raise ")
        shell.types("--int\t", "--intensity")
        shell.types("\x15", "")
        shell.types("energyctl event \t\t", "clear +-- Clear the active events")
        shell.types("\x15", "")
        shell.types(f"energyctl event raise --run={market.run} gas\t", "gas_shortage ")
        shell.types("\x15", "")
        shell.types("energyctl reset --us\t", "--user ")


@pytest.mark.needs("zsh")
@pytest.mark.needs("fish")
@pytest.mark.needs("bash")
def test_the_files_are_good_to_their_shells() -> None:
    """Each shell parses its file."""
    for words in (["bash", "-n"], ["zsh", "-n"], ["fish", "--no-execute"]):
        file = FILES / completion.FILES[Shell(words[0])]
        done = subprocess.run([*words, str(file)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), words
