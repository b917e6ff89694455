"""The market daemon's rooms: the owner of the state, the two interfaces, the transactions, the watchers."""
