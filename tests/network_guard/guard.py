"""Refuses every connection that leaves this machine, in this process and in Python children.

An audit hook sees each connect, send and name look-up before it happens and cannot be removed
again. Loopback addresses and Unix sockets pass. Children get it through `sitecustomize.py` in
this folder, which `tests/conftest.py` puts on PYTHONPATH.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from typing import Any

ADDRESS_AT = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1}
HOST_AT = {"socket.getaddrinfo": 0, "socket.gethostbyname": 0}


class NetworkBlockedError(RuntimeError):
    """A test tried to reach another machine."""


def stays_here(host: object) -> bool:
    """Whether a host given to a socket function means this machine."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host is None or host in ("", "localhost"):
        return True
    if not isinstance(host, str):
        return False
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return host == socket.gethostname()
    return address.is_loopback or address.is_unspecified


def watch(event: str, args: tuple[Any, ...]) -> None:
    """The audit hook: raise where `event` would reach beyond this machine."""
    if not event.startswith("socket."):
        return
    if event in ADDRESS_AT:
        address = args[ADDRESS_AT[event]]
        if isinstance(address, tuple) and not stays_here(address[0]):
            raise NetworkBlockedError(f"{event} {address!r}: tests may only reach this machine")
    elif event in HOST_AT and not stays_here(args[HOST_AT[event]]):
        host = args[HOST_AT[event]]
        raise NetworkBlockedError(f"{event} {host!r}: tests may only reach this machine")


def install() -> None:
    """Start watching; a second call in one process changes nothing."""
    if not getattr(sys, "_cvtrainer_network_guard", False):
        sys._cvtrainer_network_guard = True  # type: ignore[attr-defined]
        sys.addaudithook(watch)
