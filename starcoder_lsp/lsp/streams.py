"""The two ends of the connection: standard input and output, or one client's socket.

As pygls reads and writes them, but for three things: a header that it would not know is put right, a lost connection
ends the server instead of raising in the middle of a handler, and nobody but the server writes to standard output.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Callable
from io import BytesIO
from typing import BinaryIO

CONTENT_LENGTH = re.compile(rb"content-length *: *([0-9]+)\s*$", re.IGNORECASE)
"""Searched, not matched: behind a body that is longer than was announced stand its rest and the next header."""
MOST_DIGITS = 9
"""A body of a gigabyte or more is none; its header is passed over, as every line that is no header."""


class Input(BytesIO):
    """Bytes from the client. `on_end` is called, on the reader's thread, when there are no more."""

    def __init__(self, stream: BinaryIO, on_end: Callable[[], None]) -> None:
        super().__init__()
        self._stream = stream
        self._on_end = on_end

    def readline(self, _size: int | None = -1) -> bytes:
        """One line of a header."""
        line = self._received(self._stream.readline)
        length = CONTENT_LENGTH.search(line)
        if length is None:
            return line
        return b"Content-Length: %s\r\n" % (length[1] if len(length[1]) <= MOST_DIGITS else b"0")

    def read(self, size: int | None = -1) -> bytes:
        """One body."""
        return self._received(lambda: self._stream.read(-1 if size is None else size))

    def _received(self, receive: Callable[[], bytes]) -> bytes:
        try:
            data = receive()
        except OSError:  # a connection that was reset
            data = b""
        if not data:
            self._on_end()
        return data


class Output(BytesIO):
    """Bytes to the client. `on_lost` is called when they cannot get there any more."""

    def __init__(self, stream: BinaryIO, on_lost: Callable[[], None]) -> None:
        super().__init__()
        self._stream = stream
        self._on_lost = on_lost

    def write(self, data: bytes) -> int:  # type: ignore[override]  # a message is bytes
        """Send one message."""
        try:
            self._stream.write(data)
            self._stream.flush()
        except OSError:
            self._on_lost()
        return len(data)


def standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output. What anything else prints from now on goes to standard error."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr
    return sys.stdin.buffer, output


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for one client; port 0 takes any that is free. Raises `OSError`."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), family=family, backlog=1)


def accept(listener: socket.socket) -> tuple[BinaryIO, BinaryIO]:
    """Wait for the client; no other one can connect after it."""
    connection, _address = listener.accept()
    listener.close()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection.makefile("rb"), connection.makefile("wb")
