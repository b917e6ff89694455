"""Dispatcher and workers: clients referred to workers over TCP; pipes and a shared segment between them."""
