"""The suite's own rule: no test reaches another machine, not even from a child process."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from guard import NetworkBlockedError, stays_here

# An address reserved for documentation: nobody answers there.
ELSEWHERE = ("192.0.2.1", 80)


def test_connecting_elsewhere_is_refused() -> None:
    """A connection and a name look-up both fail before anything is sent."""
    with socket.socket() as client, pytest.raises(NetworkBlockedError):
        client.connect(ELSEWHERE)
    with pytest.raises(NetworkBlockedError):
        socket.getaddrinfo("example.org", 80)


def test_sending_elsewhere_is_refused() -> None:
    """Datagrams count too."""
    with (
        socket.socket(type=socket.SOCK_DGRAM) as client,
        pytest.raises(NetworkBlockedError),
    ):
        client.sendto(b"x", ELSEWHERE)


def test_loopback_works() -> None:
    """Ranks and servers on this machine are allowed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address) as client:
            client.sendall(b"x")
            accepted, _ = server.accept()
            with accepted:
                assert accepted.recv(1) == b"x"


def test_children_are_guarded() -> None:
    """A Python child cannot connect elsewhere either."""
    code = f"import socket; socket.socket().connect({ELSEWHERE!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "NetworkBlockedError" in done.stderr


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("127.0.0.9", True),
        ("::1", True),
        ("", True),
        (None, True),
        ("192.0.2.1", False),
        ("example.org", False),
        ("2001:db8::1", False),
    ],
)
def test_which_hosts_are_this_machine(host: str | None, here: bool) -> None:
    """Only loopback and unspecified addresses are."""
    assert stays_here(host) is here
