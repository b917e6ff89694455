"""energy-report: after a run, the checked balance in words, tables as CSV, and one picture of the day."""

from energymarket.report.program import main

__all__ = ["main"]
