"""A RabbitMQ broker of the tests' own: node, directory, ports and epmd; started, killed and ended by pid."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from energymarket.runtime.clock import monotonic_s
from tests.ports import free_ports

SERVER: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
CONTROL: Final = Path("/usr/lib/rabbitmq/bin/rabbitmqctl")
START_S_MAX: Final = 90.0


class Broker:
    """One broker; what it was told to keep outlives its processes, in a directory."""

    def __init__(self, directory: Path, settings: Sequence[str] = ()) -> None:
        """`settings` are further lines of rabbitmq.conf; `{tls_port}` in them is a port for TLS."""
        self.directory = directory
        self.port, self.tls_port, self.spare_port, self._dist, self._epmd_port = free_ports(5)
        self._server: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        lines = [
            f"listeners.tcp.local = 127.0.0.1:{self.port}",
            "log.file = false",
            "log.console = true",
            "log.console.level = error",
            "disk_free_limit.absolute = 1MB",
            *(line.replace("{tls_port}", str(self.tls_port)) for line in settings),
        ]
        (directory / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (directory / "plugins").write_text("[].\n")

    def start(self) -> None:
        """Start, and wait until it serves."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            address = str(self.directory / "notify")
            Path(address).unlink(missing_ok=True)
            notify.bind(address)
            notify.settimeout(START_S_MAX)
            environment = self._environment(address)
            if self._epmd is None:
                command = ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"]
                self._epmd = subprocess.Popen(command, env=environment, start_new_session=True)
            with (self.directory / "log").open("ab") as log:
                self._server = subprocess.Popen(
                    [str(SERVER)],
                    env=environment,
                    cwd=self.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            deadline = monotonic_s() + START_S_MAX
            while b"READY=1" not in notify.recv(4096):
                assert monotonic_s() < deadline, self.said()

    def _environment(self, notify: str) -> dict[str, str]:
        home = str(self.directory)
        return {
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
            "HOME": home,
            "LANG": "C.UTF-8",
            "NOTIFY_SOCKET": notify,  # also: the server itself is the process that is started
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"energy{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._dist),
            # One scheduler, which sleeps when there is nothing to do: others want the processors.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +SDcpu 1:1 +sbwt none +sbwtdcpu none",
            "RABBITMQ_MNESIA_BASE": home,
            "RABBITMQ_LOG_BASE": home,
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_SCHEMA_DIR": home,
            "RABBITMQ_GENERATED_CONFIG_DIR": home,
            "RABBITMQ_FEATURE_FLAGS_FILE": f"{home}/feature_flags",
            "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{home}/no-environment",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/plugins",
        }

    def control(self, *words: str) -> str:
        """An operator's command, to its good end; what it said."""
        command = [str(CONTROL), "-n", f"energy{self.port}@localhost", *words]
        environment = self._environment(str(self.directory / "notify"))
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def freeze(self) -> None:
        """It takes what the kernel buffers for it, and does nothing with it."""
        if self._server is not None:
            self._server.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """As the out-of-memory killer would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """In order."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._server is not None:
            self._server.send_signal(number)
            self._server.wait(60)
            self._server = None

    def close(self) -> None:
        """End it and its epmd."""
        self.stop()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait(30)
            self._epmd = None

    def said(self) -> str:
        """Its last words."""
        return (self.directory / "log").read_text(errors="replace")[-2000:]
