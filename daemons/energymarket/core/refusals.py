"""Every refusal of the market, by the name that the answer, the log, the page and the test use.

Standard library only: the wire and the control program read the same names.
"""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class Refusal(StrEnum):
    """Why something was not accepted. The value is the name on the wire."""

    # of a call
    NOT_OPEN = "NotOpen"
    GATE_CLOSED = "GateClosed"
    NOT_JOINED = "NotJoined"
    HOMES_TAKEN = "HomesTaken"
    UNKNOWN_HOME = "UnknownHome"
    QUOTA_EXCEEDED = "QuotaExceeded"
    STOPPING = "Stopping"
    STORE_FAILED = "StoreFailed"
    # of a batch: it is refused whole
    BATCH_MALFORMED = "BatchMalformed"
    ENERGY_NEGATIVE = "EnergyNegative"
    ENERGY_TOO_LARGE = "EnergyTooLarge"
    POLICY_UNKNOWN = "PolicyUnknown"
    SELLER_OFFERS = "SellerOffers"
    RETURNED_MORE_THAN_OFFERED = "ReturnedMoreThanOffered"
    REGISTER_OUT_OF_RANGE = "RegisterOutOfRange"
    REGISTER_RUNS_BACKWARDS = "RegisterRunsBackwards"
    REGISTER_JUMPS = "RegisterJumps"
    REGISTERS_UNKNOWN = "RegistersUnknown"
    TOO_MANY_CLAIMS = "TooManyClaims"
    CLAIM_BY_STRANGER = "ClaimByStranger"
    CLAIM_EMPTY = "ClaimEmpty"
    CLAIM_TWICE = "ClaimTwice"
    # of a claim: it is void, its taker in imbalance
    OFFER_UNKNOWN = "OfferUnknown"
    OFFER_TAKEN = "OfferTaken"

    @property
    def text(self) -> str:
        """What happened, in one sentence."""
        return _TEXTS[self]


_TEXTS: dict[Refusal, str] = {
    Refusal.NOT_OPEN: "the market has no slot open",
    Refusal.GATE_CLOSED: "the slot's gate has closed",
    Refusal.NOT_JOINED: "this connection holds no lease of the home: join first",
    Refusal.HOMES_TAKEN: "another connection holds a lease of some of these homes",
    Refusal.UNKNOWN_HOME: "the market has no home with this id",
    Refusal.QUOTA_EXCEEDED: "this connection has used up its quota of the slot",
    Refusal.STOPPING: "the market is stopping",
    Refusal.STORE_FAILED: "the ledger could not be written",
    Refusal.BATCH_MALFORMED: "a column is missing, or of the wrong type or length",
    Refusal.ENERGY_NEGATIVE: "an energy is below zero",
    Refusal.ENERGY_TOO_LARGE: "an energy, or a home's sum of claims, is more than a home moves in a slot",
    Refusal.POLICY_UNKNOWN: "a policy is none of 1 (give), 2 (sell), 3 (give, then sell)",
    Refusal.SELLER_OFFERS: "a home that always sells offers a gift",
    Refusal.RETURNED_MORE_THAN_OFFERED: "a home took back more than it had offered",
    Refusal.REGISTER_OUT_OF_RANGE: "a register is below zero or beyond any meter",
    Refusal.REGISTER_RUNS_BACKWARDS: "a register is lower than at its last committed reading",
    Refusal.REGISTER_JUMPS: "a register has grown by more than a home can move",
    Refusal.REGISTERS_UNKNOWN: "registers grow from another reading than the last one: hand in whole ones",
    Refusal.TOO_MANY_CLAIMS: "more claims than any exchange can make",
    Refusal.CLAIM_BY_STRANGER: "a claim's taker is not a home of the batch",
    Refusal.CLAIM_EMPTY: "a claim is of no energy",
    Refusal.CLAIM_TWICE: "the batch claims the same part of an offer twice",
    Refusal.OFFER_UNKNOWN: "no offer of this home that is large enough stands in a batch of the slot",
    Refusal.OFFER_TAKEN: "the offer is already claimed",
}
