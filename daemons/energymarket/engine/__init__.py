"""Fast-forward: the one core without a clock and without IPC, as fast as the machine goes."""
