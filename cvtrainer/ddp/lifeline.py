"""An open connection between rank 0 and every other rank, whose end means the end of a process.

The system itself closes it when a process is killed, at once and however busy the others are, and
finds out within seconds that a whole machine is gone. A rank that leaves in order says so first.
"""

from __future__ import annotations

import json
import os
import secrets
import selectors
import socket
import weakref
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Protocol

from torch.distributed import Store  # type: ignore[attr-defined]

from cvtrainer.ddp.meeting import this_machine

_KEY = "lifeline"
_FAREWELL = b"."
_WORD_BYTES, _RANK_BYTES = 32, 8
_CONNECT_S = 20.0
_KEEPALIVE = {"TCP_KEEPIDLE": 4, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}


class Lifeline(Protocol):
    """Watched by one thread."""

    def lost(self, seconds: float) -> list[int]:
        """Wait so long at most; the ranks that have ended without a farewell."""
        ...

    def farewell(self) -> None:
        """Say that this rank ends in order and nobody needs to follow; from any thread."""
        ...

    def close(self) -> None: ...


def lifeline(rank: int, world_size: int, store: Store) -> Lifeline:
    """Rank 0 listens, the others connect to it."""
    return _Hub(world_size, store) if rank == 0 else _Spoke(rank, store)


class _Hub:
    """Rank 0's end: one connection per other rank."""

    def __init__(self, world_size: int, store: Store) -> None:
        self._expected = world_size - 1
        self._word = secrets.token_hex(_WORD_BYTES // 2)
        self._poll = selectors.DefaultSelector()
        self._listener = socket.create_server(("", 0), backlog=min(1024, world_size))
        self._ranks: dict[socket.socket, int | None] = {}
        self._leaving: set[socket.socket] = set()
        self._heard: dict[socket.socket, bytes] = {}
        _close_in_children([self._listener])
        self._poll.register(self._listener, selectors.EVENT_READ)
        port = self._listener.getsockname()[1]
        store.set(_KEY, json.dumps([port, self._word, this_machine()]))

    def lost(self, seconds: float) -> list[int]:
        gone: list[int] = []
        for key, _ in self._poll.select(seconds):
            if key.fileobj is self._listener:
                self._accept()
                continue
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            if (ended := self._hear(connection)) is not None:
                gone.append(ended)
        return gone

    def _accept(self) -> None:
        with suppress(OSError):
            connection, _ = self._listener.accept()
            connection.settimeout(1.0)
            _keep_alive(connection)
            _close_in_children([connection])
            self._ranks[connection] = None
            self._poll.register(connection, selectors.EVENT_READ)

    def _hear(self, connection: socket.socket) -> int | None:
        """The rank, if it has ended; who does not know the word is a stranger."""
        rank = self._ranks[connection]
        try:
            said = connection.recv(_WORD_BYTES + _RANK_BYTES)
        except OSError:
            said = b""
        if rank is None and said:
            heard = self._heard[connection] = self._heard.get(connection, b"") + said
            if len(heard) < _WORD_BYTES + _RANK_BYTES:
                return None
            if heard[:_WORD_BYTES].decode("ascii", "replace") == self._word:
                self._ranks[connection] = int(heard[_WORD_BYTES : _WORD_BYTES + _RANK_BYTES])
                return None
        if rank is not None and said == _FAREWELL:
            self._leaving.add(connection)
            return None
        self._poll.unregister(connection)
        connection.close()
        del self._ranks[connection]
        return None if connection in self._leaving else rank

    def farewell(self) -> None:
        for connection in list(self._ranks):
            _say_farewell(connection)

    def close(self) -> None:
        for connection in (*self._ranks, self._listener):
            connection.close()
        self._poll.close()


class _Spoke:
    """Another rank's end."""

    def __init__(self, rank: int, store: Store) -> None:
        store.wait([_KEY], timedelta(seconds=_CONNECT_S))
        port, word, machine = json.loads(store.get(_KEY))
        host = os.environ.get("MASTER_ADDR", "localhost")
        self._line: socket.socket | None = None
        with suppress(OSError):  # where a wall lets nobody through, the others' errors must do
            near = machine == this_machine()
            address = ("127.0.0.1" if near else host, port)
            self._line = socket.create_connection(address, timeout=_CONNECT_S)
            self._line.sendall(f"{word}{rank:0{_RANK_BYTES}d}".encode("ascii"))
            self._line.settimeout(1.0)
            _keep_alive(self._line)
            _close_in_children([self._line])
        self._poll = selectors.DefaultSelector()
        self._left = False
        if self._line is not None:
            self._poll.register(self._line, selectors.EVENT_READ)

    def lost(self, seconds: float) -> list[int]:
        for _ in self._poll.select(seconds):
            assert self._line is not None
            try:
                said = self._line.recv(1)
            except OSError:
                said = b""
            if said == _FAREWELL:
                self._left = True
                continue
            self._poll.unregister(self._line)
            return [] if self._left else [0]
        return []

    def farewell(self) -> None:
        if self._line is not None:
            _say_farewell(self._line)

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
        self._poll.close()


def _say_farewell(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.sendall(_FAREWELL)


def _keep_alive(connection: socket.socket) -> None:
    """The system asks the other machine every few seconds whether it is there."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if (option := getattr(socket, name, None)) is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _close_in_children(connections: Iterable[socket.socket]) -> None:
    """A forked worker would keep its parent's connection open after the parent's end."""
    known = [weakref.ref(connection) for connection in connections]

    def close() -> None:
        for reference in known:
            inherited = reference()
            if inherited is not None:
                inherited.close()

    os.register_at_fork(after_in_child=close)
