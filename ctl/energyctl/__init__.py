"""energyctl: the operator's program. It looks, steers and supervises; it decides nothing about the market."""
