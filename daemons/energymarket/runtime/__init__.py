"""The runtime is a daemon's plumbing, the same for all: signals, clocks, logs, readiness, children."""
