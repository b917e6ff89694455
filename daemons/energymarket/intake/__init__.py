"""Measured data of others: read, judged, repaired where it must be, and written as a scenario's homes."""
