"""Which parts of whose offers are claimed here already: what is on offer again of them is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from energymarket.core.exchange import Records


class ClaimedParts:
    """By giver, below which index the parts of its offer are claimed: a piece for each lot of messages.

    Givers come in the order of the ring, so that nearly every offer is of nobody that an earlier piece has.
    """

    __slots__ = ("_pieces",)

    def __init__(self) -> None:
        # givers, ascending, and the first index of each that is not claimed
        self._pieces: list[tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]] = []

    def add(self, claims: Records) -> None:
        """Claims of one lot: those of an offer stand together, the last of its parts last."""
        if not len(claims):
            return
        giver = np.ascontiguousarray(claims["giver"])
        ends = np.empty(len(giver), np.bool_)
        ends[-1] = True
        np.not_equal(giver[1:], giver[:-1], out=ends[:-1])
        at = ends.nonzero()[0]
        self.claim(giver[at], claims["index"][at].astype(np.int64) + 1)

    def claim(self, givers: npt.NDArray[np.uint32], following: npt.NDArray[np.int64]) -> None:
        """Of each giver the parts below an index."""
        givers = np.ascontiguousarray(givers)
        if not (givers[1:] > givers[:-1]).all():  # the ring ends and begins among them, or one is there twice
            order = np.lexsort((following, givers))
            givers, following = givers[order], following[order]
        self._pieces.append((givers, following))

    def open(self, offers: Records) -> npt.NDArray[np.bool_]:
        """Which of the offers are of parts that nobody has claimed here."""
        giver, is_open = np.ascontiguousarray(offers["giver"]), np.ones(len(offers), np.bool_)
        low, high = int(giver.min(initial=0xFFFF_FFFF)), int(giver.max(initial=0))
        for givers, following in self._pieces:
            if givers[0] > high or givers[-1] < low:
                continue
            at = np.maximum(np.searchsorted(givers, giver, side="right") - 1, 0)
            is_open &= (givers[at] != giver) | (offers["index"] >= following[at])
        return is_open
