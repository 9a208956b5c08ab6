"""Write to the editor: the session's messages at once, the front's own on the timer's thread."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, Final

from starcoder_lsp.front.framing import framed

WRITING_TIMEOUT_S: Final = 0.3
"""The time for the last messages to an editor that may not read. Not measured."""
STALLED_S: Final = 0.25
"""A write that takes longer means that the editor does not read, since it is stopped or busy. Not measured."""
INFO: Final = 3
"""The kind of a message that goes to the log."""


class Output:
    """Writes whole messages. `on_lost` is called when they cannot get to the editor any more."""

    def __init__(self, stream: BinaryIO, lock: threading.RLock, on_lost: Callable[[], None]) -> None:
        self._stream = stream
        self._writing = threading.Lock()
        self._on_lost = on_lost
        self._queued: list[bytes] = []
        self._writing_since: float | None = None
        self._stalled_at = 0.0
        self.wake = threading.Condition(lock)
        """Notified when the timer's thread has something to do."""

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is queued; under the lock."""
        return not self._queued

    def queue(self, message: dict[str, Any]) -> None:
        """Let the timer's thread write a message; under the lock. The reading thread must not wait for the editor."""
        self._queued.append(json.dumps({"jsonrpc": "2.0", **message}).encode())
        self.wake.notify()

    def queue_all(self, messages: Iterable[dict[str, Any]]) -> None:
        """Queue several."""
        for message in messages:
            self.queue(message)

    def queue_error(self, msg_id: Any, code: int, message: str) -> None:
        """Queue the refusal of a request."""
        self.queue({"id": msg_id, "error": {"code": code, "message": message}})

    def queue_line(self, line: str, kind: int) -> None:
        """Queue a line for the user, or for the log."""
        method = "window/logMessage" if kind == INFO else "window/showMessage"
        self.queue({"method": method, "params": {"type": kind, "message": f"starcoder-lsp: {line}"}})

    def stalled_at(self, now: float) -> float:
        """Return the last time at which a write waited for the editor; 0 if none did. Others wait behind it."""
        since = self._writing_since
        return now if since is not None and now - since > STALLED_S else self._stalled_at

    def take(self) -> list[bytes]:
        """Return what is queued, to be written; under the lock."""
        queued, self._queued = self._queued, []
        return queued

    def write(self, body: bytes) -> None:
        """Write a message; waits for an editor that does not read."""
        try:
            with self._writing:
                self._writing_since = began = time.monotonic()
                self._stream.write(framed(body))
                self._stream.flush()
                self._writing_since, ended = None, time.monotonic()
                if ended - began > STALLED_S:
                    self._stalled_at = ended
        except (OSError, ValueError):
            self._on_lost()

    def write_last(self, bodies: list[bytes]) -> None:
        """Write messages unless the editor does not read."""
        if self._writing.acquire(timeout=WRITING_TIMEOUT_S):
            self._writing.release()
            for body in bodies:
                self.write(body)
