"""The client of the dispatcher: finds it, asks it, waits for the worker's answer."""
