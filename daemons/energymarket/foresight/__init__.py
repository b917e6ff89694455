"""Forecasts: the market's own core, run forward from the present under sampled weather and events."""
