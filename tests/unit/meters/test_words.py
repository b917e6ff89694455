"""What both services say of what they were told."""

from __future__ import annotations

from pathlib import Path

import pytest

from energymarket.exits import Exit, Failure
from energymarket.meters import words
from energymarket.meters.spool import Spool


def test_a_directory_that_cannot_be_used_is_told_in_a_line(tmp_path: Path) -> None:
    """Which, why, and the option that names another one; with the code of the failed call."""
    file = tmp_path / "file"
    file.touch()
    for directory, why in ((file, "no directory"), (file / "below", "Not a directory")):
        with pytest.raises(Failure, match=why) as caught, words.using(directory, "--state"):
            Spool(directory).open()
        assert str(directory) in str(caught.value)
        assert "--state DIR" in str(caught.value)
        assert caught.value.code is Exit.IO_ERROR
    with pytest.raises(Failure) as refused, words.using(tmp_path, "--state"):
        raise PermissionError(13, "Permission denied", str(file))
    assert refused.value.code is Exit.PERMISSION
