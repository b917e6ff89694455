"""Around the protocol: sockets, threads, forks, the clock. It carries bytes and decides nothing."""
