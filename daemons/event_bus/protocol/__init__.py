"""The protocol of the bus, pure: states and what happens in, frames and records out; no socket, no clock."""
