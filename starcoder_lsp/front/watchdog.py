"""Notice a session that is silent for too long: pings, requests that it should have answered, and its start.

A session cannot be blamed for silence while the editor does not read, or after this process was stopped (a terminal's
Ctrl-Z, a laptop's sleep): from then on it gets the whole time again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from starcoder_lsp.front.pending import MIN_SILENCE_S, OVERDUE_S
from starcoder_lsp.front.requests import NEVER

if TYPE_CHECKING:
    from starcoder_lsp.front.output import Output
    from starcoder_lsp.front.requests import Requests

DEFAULT_COMPLETION_S: Final = 10.0
PING_INTERVAL_S: Final = 1.0
START_TIMEOUT_S: Final = 60.0
"""The time for a session's start, which takes half a second on an idle machine."""


class Watchdog:
    """Watches one session after another. Under the front's lock."""

    def __init__(self, output: Output, requests: Requests) -> None:
        self.completion_s = DEFAULT_COMPLETION_S
        """The seconds that a completion may take, as the session says."""
        self._start_due_at = NEVER
        """The time by which a session that starts must read messages; `NEVER` for one that does."""
        self._up_at = 0.0
        self._output, self._requests = output, requests
        self._ping_sent_at: float | None = None
        self._ping_answered_at = 0.0
        self._stopped_at = 0.0

    def await_start(self) -> None:
        """Give the session time to start. What it gets meanwhile waits in its input."""
        self._start_due_at = time.monotonic() + START_TIMEOUT_S

    def note_up(self) -> None:
        """Note that the session reads messages from now on."""
        self._start_due_at, self._up_at = NEVER, time.monotonic()

    def ping(self) -> bool:
        """Return whether a ping is due, at most one a second; it counts as sent."""
        now = time.monotonic()
        if self._ping_sent_at is not None or now - self._ping_answered_at < PING_INTERVAL_S:
            return False
        self._ping_sent_at = now
        return True

    def take_ping(self) -> None:
        """Note the reply to a ping."""
        self._ping_answered_at, self._ping_sent_at = time.monotonic(), None

    def forget_ping(self) -> None:
        """Note that no reply will come."""
        self._ping_sent_at = None

    def note_waking(self, planned_at: float) -> None:
        """Note that the timer's thread runs again; much later than planned, the process was stopped."""
        now = time.monotonic()
        if now > planned_at + OVERDUE_S:
            self._stopped_at = now

    def is_due(self, now: float) -> bool:
        """Return whether the session has not answered for too long."""
        return self.next_time(now) <= now

    def next_time(self, now: float) -> float:
        """Return the time from which on the session counts as silent for too long."""
        silence_s = max(self.completion_s + OVERDUE_S, MIN_SILENCE_S)
        if self._start_due_at != NEVER:
            due_at = self._start_due_at
        else:
            pinged_until = NEVER if self._ping_sent_at is None else self._ping_sent_at + silence_s
            due_at = min(pinged_until, self._requests.next_overdue())
        return max(due_at, max(self._up_at, self._stopped_at, self._output.stalled_at(now)) + silence_s)
