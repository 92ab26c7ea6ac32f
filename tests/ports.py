"""Ports of this machine for servers that must be told theirs before they start."""

from __future__ import annotations

import itertools
import os
import socket

# Below what systems hand out by themselves (from 32,768 on Linux, from 49,152 elsewhere): a port of
# theirs may go to any connection of another test between being chosen and being listened on, and
# while a killed server is away.
FIRST = 20_000
EACH_WORKER = 1_000

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_range = range(FIRST + _worker * EACH_WORKER, FIRST + (_worker + 1) * EACH_WORKER)
# Two runs on one machine begin at different ports.
_ports = itertools.islice(itertools.cycle(_range), os.getpid() * 37 % EACH_WORKER, None)


def free_port() -> int:
    """A port on loopback that nobody listens on and that nothing else in this run is given."""
    for port in itertools.islice(_ports, EACH_WORKER):
        with socket.socket() as s:
            # Connections that were closed a moment ago hinder no server.
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError(f"{EACH_WORKER} ports are all taken")
