"""energy-market: the local energy market you can kill -9."""

__version__ = "0.1.0"
