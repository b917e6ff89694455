"""Listening sockets that a daemon is started with: they outlive it, so that clients wait meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from energyctl.up.process import Command, Listen
from energymarket.transport import listening

BACKLOG: Final = 1024
"""Connections that wait while a daemon is being started again, as in the socket units."""
MODE: Final = 0o660


class Sockets:
    """The sockets of all daemons, by the daemon's name: made for its first life, closed after its last."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[ExitStack, tuple[socket.socket, ...]]] = {}

    def of(self, command: Command) -> Sequence[socket.socket]:
        """Its sockets, in the order of its command. OSError with the address where one cannot be had."""
        if command.name not in self._open:
            with ExitStack() as stack:
                made = tuple(_listen(stack, each) for each in command.listens)
                self._open[command.name] = (stack.pop_all(), made)
        return self._open[command.name][1]

    def close(self, name: str) -> None:
        """Nobody will serve them again: whoever waits is sent away, and their files go."""
        if name in self._open:
            stack, _ = self._open.pop(name)
            stack.close()

    def close_all(self) -> None:
        """At the end of the run."""
        for name in list(self._open):
            self.close(name)


def _listen(stack: ExitStack, wanted: Listen) -> socket.socket:
    if isinstance(wanted.at, tuple):
        host, port = wanted.at
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = stack.enter_context(socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind(wanted.at)
            made.listen(BACKLOG)
        except OSError as error:
            raise OSError(error.errno, f"{host} port {port}: {error.strerror}") from error
        return made
    try:
        made, file = listening.listen(wanted.at, MODE, BACKLOG)
    except listening.InUse as error:
        raise OSError(str(error)) from error
    stack.enter_context(made)
    stack.callback(file.remove)
    return made
