"""Every name of the document is defined, and every definition is of a name that is there."""

from __future__ import annotations

from typing import Any

import numpy as np

from energymarket.core.kpi.definitions import SECTIONS
from energymarket.core.kpi.document import document
from energymarket.core.kpi.storage import Storage
from energymarket.core.kpi.tally import Carbon, Tally
from tests.unit.core.kpi.test_by_hand import FRAME, batteries, three_hours


def names_of(made: dict[str, Any], path: str = "") -> dict[str, set[str]]:
    """Names by the object that they stand in."""
    found: dict[str, set[str]] = {}
    for name, value in made.items():
        if isinstance(value, dict):
            found |= names_of(value, f"{path}.{name}" if path else name)
        else:
            found.setdefault(path, set()).add(name)
    return found


def test_the_document_and_its_definitions_have_the_same_names() -> None:
    """With everything given that there can be: two intensities, registers, the table of homes."""
    tally = Tally(FRAME)
    intensity = np.array([1, 2, 3])
    tally.add(three_hours(), Carbon(intensity, intensity))
    made = document(tally, Storage.between(tally, None, batteries((500, 300, 100))))
    defined = {place: {each.name for each in definitions} for place, definitions in SECTIONS.items()}
    assert names_of(made) == defined
    assert all(len({each.name for each in section}) == len(section) for section in SECTIONS.values())
