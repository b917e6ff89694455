"""The limit of descriptors: lifted as far as it may be, never lowered."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.ipc.processes import environment

BODY = """
import resource, sys
from energymarket.runtime import descriptors
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
said = descriptors.allow(wanted)
assert said == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
print(said, *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "becomes"),
    [(64, 900, 500, 500), (64, 900, 5_000, 900), (800, 900, 500, 800)],
)
def test_the_soft_limit_is_lifted_as_far_as_it_may(soft: int, hard: int, wanted: int, becomes: int) -> None:
    """Up to what is wanted or to the hard limit, which stays; what is more already stays too."""
    words = [sys.executable, "-c", BODY, str(soft), str(hard), str(wanted)]
    said = subprocess.run(words, env=environment(), capture_output=True, text=True, check=True).stdout
    assert said.split() == [str(becomes), str(becomes), str(hard)]
