"""The session's two streams, to and from the front.

They differ from pygls' own in four points. A thread reads the input and hands each chunk to the event loop; pygls
switches threads for each header line. Headers in another case or with spaces are accepted. A lost connection ends the
server instead of raising inside a handler.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import BinaryIO

from starcoder_lsp.front.framing import CONTENT_LENGTH, MAX_DIGITS, N_CHUNK_BYTES, Receive


class Input(asyncio.StreamReader):
    """Bytes from the client, after `listen`. `on_end` is awaited at their end. On the event loop."""

    def __init__(self, on_end: Callable[[], Awaitable[None]]) -> None:
        super().__init__(limit=10**MAX_DIGITS)
        self._on_end = on_end

    def listen(self, receive: Receive) -> None:
        """Start the thread that reads."""
        arguments = (receive, asyncio.get_running_loop())
        threading.Thread(target=self._feed, args=arguments, name="input", daemon=True).start()

    def _feed(self, receive: Receive, loop: asyncio.AbstractEventLoop) -> None:
        while data := _received(receive):
            loop.call_soon_threadsafe(self.feed_data, data)
        loop.call_soon_threadsafe(self.feed_eof)

    async def readline(self) -> bytes:
        """Return one line of a header."""
        await asyncio.sleep(0)  # let a request start before the next message changes its text
        line = await super().readline()
        if not line:
            await self._on_end()
        length = CONTENT_LENGTH.search(line)
        if length is None:
            return line
        return b"Content-Length: %s\r\n" % (length[1] if len(length[1]) <= MAX_DIGITS else b"0")

    async def readexactly(self, n: int) -> bytes:
        """Return one body; nothing if the connection ends before its end."""
        try:
            return await super().readexactly(n)
        except asyncio.IncompleteReadError:
            await self._on_end()
            return b""


def _received(receive: Receive) -> bytes:
    try:
        return receive(N_CHUNK_BYTES)
    except OSError:  # the connection was reset
        return b""


class Output:
    """Bytes to the client. `on_lost` is called when the connection is lost."""

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
        """Drop everything that is written from now on."""
        self._stream.close()
