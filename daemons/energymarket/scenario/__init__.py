"""Scenarios: TOML in, arrays out; the only place that imports the libraries of the field."""
