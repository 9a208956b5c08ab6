"""Messages on a stream of bytes, framed as in the base protocol: unusual headers are read, and none are written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

CONTENT_LENGTH: Final = re.compile(rb"content-length *: *([0-9]+)\s*$", re.IGNORECASE)
"""Searched, not matched: if a body is longer than announced, its rest and the next header share a line."""
MAX_DIGITS: Final = 9
"""Digits of a body's length. A header that announces a gigabyte or more is skipped, like a line that is no header."""
MAX_LINE_BYTES: Final = 64 * 1024
"""The longest line of a header; longer ones are skipped."""
N_CHUNK_BYTES: Final = 2**18

Receive = Callable[[int], bytes]
"""Waits for bytes and returns at most the given number. Returns none, or raises `OSError`, at the end of the stream."""


class TwoLengthsError(ValueError):
    """A header has two content lengths. Reading goes on at the next header."""


class Frames:
    """The bodies of messages, one after another."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._buffer = bytearray()
        self._start = 0

    def read(self) -> bytes | None:
        """Return the next body, `None` at the end of the stream. Raises `TwoLengthsError`."""
        n_bytes = 0
        while (line := self._line()) is not None:
            match = CONTENT_LENGTH.search(line)
            if match is not None and len(match[1]) <= MAX_DIGITS:
                if n_bytes:
                    raise TwoLengthsError
                n_bytes = int(match[1])
            elif n_bytes and not line.strip():
                return self._take(n_bytes) if self._fill(n_bytes) else None
        return None

    def first_line(self) -> bytes:
        """Return the beginning of the stream up to its first line end, without taking it; empty at its end."""
        line = self._line() or b""
        self._buffer[:0] = line if self._start == 0 else b""  # a buffer that was taken whole is empty
        self._start = 0
        return line

    def _line(self) -> bytes | None:
        """Take a line with its end, `None` at the end of the stream."""
        looked_at = self._start
        while (end := self._buffer.find(b"\n", looked_at)) < 0:
            looked_at = len(self._buffer)
            if looked_at - self._start > MAX_LINE_BYTES:
                return self._take(looked_at - self._start)
            if not self._more():
                return None
            looked_at = max(self._start, min(looked_at, len(self._buffer)))
        return self._take(end + 1 - self._start)

    def _fill(self, n_bytes: int) -> bool:
        """Wait until `n_bytes` bytes are buffered; return false if the stream ends before that."""
        while len(self._buffer) - self._start < n_bytes:
            if not self._more():
                return False
        return True

    def _take(self, n_bytes: int) -> bytes:
        taken = bytes(self._buffer[self._start : self._start + n_bytes])
        self._start += n_bytes
        if self._start == len(self._buffer):
            self._buffer.clear()
            self._start = 0
        return taken

    def _more(self) -> bool:
        try:
            data = self._receive(N_CHUNK_BYTES)
        except OSError:  # the connection was reset
            return False
        self._buffer += data
        return bool(data)


def bodies(frames: Frames, on_two_lengths: Callable[[], None]) -> Iterator[bytes]:
    """Yield the bodies to the end of the stream. A header with two lengths is reported and passed over."""
    while True:
        try:
            body = frames.read()
        except TwoLengthsError:
            on_two_lengths()
            continue
        if body is None:
            return
        yield body


def first_body(receive: Receive) -> tuple[bytes, Receive]:
    """Return the first body of a stream, empty if there is none, and how to read the stream from its beginning."""
    taken = bytearray()

    def take(n_bytes: int) -> bytes:
        data = receive(n_bytes)
        taken.extend(data)
        return data

    def again(n_bytes: int) -> bytes:
        if not taken:
            return receive(n_bytes)
        data = bytes(taken)
        taken.clear()
        return data

    try:
        return Frames(take).read() or b"", again
    except TwoLengthsError:
        return b"", again


def parsed(body: bytes) -> Any:
    """Parse a body as JSON; return `None` if it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def framed(body: bytes) -> bytes:
    """Return a message with its header."""
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
