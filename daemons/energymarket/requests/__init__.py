"""What can be asked of a worker: one file per type of request, found by the registry, listed nowhere."""
