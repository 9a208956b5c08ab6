"""A streamed answer as JSON objects: server-sent events, or a line each.

The form of events: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation. An event
counts once its blank line is there, so half of one at a broken connection is never read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from attrs import define, field

from starcoder_lsp.engine.remote.errors import BadAnswerError

MAX_EVENT_BYTES: Final = 1 << 20
"""The most bytes of one event or line. The largest of a known engine repeats a prompt of 16,384 tokens: some 200 KB."""
DONE: Final = b"[DONE]"
_LINE_END: Final = re.compile(rb"\r\n|\n|\r(?!$)")
"""A carriage return at the end of the data may be half of `\\r\\n`."""


@define
class EventReader:
    """Takes bytes as they come. `is_done` says that the engine announced the end."""

    is_events: bool
    """True if these are server-sent events; otherwise JSON lines."""
    is_done: bool = False
    _rest: bytes = b""
    _data: list[bytes] = field(factory=list)
    _n_event_bytes: int = 0

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """Yield the objects that are complete. Raises `BadAnswerError`."""
        lines = _LINE_END.split(self._rest + chunk)
        self._rest = lines.pop()
        if len(self._rest) > MAX_EVENT_BYTES:
            message = f"the engine sent a line of more than {MAX_EVENT_BYTES >> 20} MiB"
            raise BadAnswerError(message)
        for line in lines:
            if self.is_done:
                return
            if self.is_events:
                yield from self._take(line)
            elif line.strip():
                yield _object(line)

    def _take(self, line: bytes) -> Iterator[dict[str, Any]]:
        if line:
            name, _, value = line.partition(b":")
            if name in {b"data", b"error"}:  # llama.cpp's server names errors so
                self._data.append(value if name == b"data" else b'{"error":' + value + b"}")
                self._n_event_bytes += len(value)
            if self._n_event_bytes > MAX_EVENT_BYTES:
                message = f"the engine sent an event of more than {MAX_EVENT_BYTES >> 20} MiB"
                raise BadAnswerError(message)
            return
        data, self._data, self._n_event_bytes = b"\n".join(self._data), [], 0
        if data.strip() == DONE:
            self.is_done = True
        elif data.strip():
            yield _object(data)


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        message = "the engine sent something that is no JSON object"
        raise BadAnswerError(message)
    return value
