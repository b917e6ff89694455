"""Replay: a recorded run settled once more, slot by slot, and held against the ledger."""
