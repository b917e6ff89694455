"""The live view of a running suite: rates, lateness, traffic, memory, processes."""
