"""Indicators: what a run's slots add up to, in memory that does not grow, and what that says of it."""
