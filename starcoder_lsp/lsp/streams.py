"""The two ends of the connection: standard input and output, or one client's socket.

As pygls reads and writes them, but for some things: what comes is read by a thread of its own and handed to the event
loop once a chunk, where pygls' reader takes a turn of a thread for each line of a header; a header that pygls would not
know is put right; a lost connection ends the server instead of raising in the middle of a handler; and nobody but the
server writes to standard output.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

CONTENT_LENGTH = re.compile(rb"content-length *: *([0-9]+)\s*$", re.IGNORECASE)
"""Searched, not matched: behind a body that is longer than was announced stand its rest and the next header."""
MAX_DIGITS = 9
"""A body of a gigabyte or more is none; its header is passed over, as every line that is no header."""
N_CHUNK_BYTES = 2**18

Receive = Callable[[int], bytes]
"""Waits for bytes, at most so many; none, or `OSError`, when no more will come."""


class Input(asyncio.StreamReader):
    """Bytes from the client, once `listen` was called. `on_end` is called when there are no more. On the event loop."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        super().__init__(limit=10**MAX_DIGITS)
        self._on_end = on_end

    def listen(self, receive: Receive) -> None:
        """Begin to read."""
        arguments = (receive, asyncio.get_running_loop())
        threading.Thread(target=self._feed, args=arguments, name="input", daemon=True).start()

    def _feed(self, receive: Receive, loop: asyncio.AbstractEventLoop) -> None:
        while data := _received(receive):
            loop.call_soon_threadsafe(self.feed_data, data)
        loop.call_soon_threadsafe(self.feed_eof)

    async def readline(self) -> bytes:
        """One line of a header."""
        await asyncio.sleep(0)  # a request that was read has its turn before what comes behind it changes the text
        line = await super().readline()
        if not line:
            self._on_end()
        length = CONTENT_LENGTH.search(line)
        if length is None:
            return line
        return b"Content-Length: %s\r\n" % (length[1] if len(length[1]) <= MAX_DIGITS else b"0")

    async def readexactly(self, n: int) -> bytes:
        """One body; nothing if the connection ends in it."""
        try:
            return await super().readexactly(n)
        except asyncio.IncompleteReadError:
            self._on_end()
            return b""


def _received(receive: Receive) -> bytes:
    try:
        return receive(N_CHUNK_BYTES)
    except OSError:  # a connection that was reset
        return b""


class Output:
    """Bytes to the client. `on_lost` is called when they cannot get there any more."""

    def __init__(self, stream: BinaryIO, on_lost: Callable[[], None]) -> None:
        self._stream = stream
        self._on_lost = on_lost

    def write(self, data: bytes) -> None:
        """Send one message."""
        try:
            self._stream.write(data)
            self._stream.flush()
        except OSError:
            self._on_lost()

    def close(self) -> None:
        """Send no more."""
        self._stream.close()


def standard_streams() -> tuple[Receive, BinaryIO]:
    """Standard input and output. What anything else prints from now on goes to standard error."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr
    return partial(os.read, sys.stdin.fileno()), output


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for one client; port 0 takes any that is free. Raises `OSError`."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), family=family, backlog=1)


def accept(listener: socket.socket) -> tuple[Receive, BinaryIO]:
    """Wait for the client; no other one can connect after it."""
    connection, _address = listener.accept()
    listener.close()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection.recv, connection.makefile("wb")
