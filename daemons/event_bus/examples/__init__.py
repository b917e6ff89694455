"""Four small programs to learn the bus from: `python -m event_bus.examples` lists them."""
