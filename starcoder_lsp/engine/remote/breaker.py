"""Stop requests to a remote engine while it is away, and resume by itself once a probe is answered.

A circuit breaker (M. Nygard, Release It!): closed while requests succeed; open after failures in a row, for a pause
that doubles and has jitter, so that thirty editors do not come back in the same moment; then one probe decides.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from attrs import define

MAX_FAILURES = 3
"""The failures in a row after which the engine counts as away. One may be chance; not measured."""
MIN_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0
"""Pauses double from the first to the second. Not measured: a restart of vLLM takes 20 to 48 s."""
MAX_ASKED_PAUSE_S = 300.0
"""The longest pause that is granted to `Retry-After`."""


@define(eq=False)
class Breaker:
    """Counts failures. While `is_away` is true, no request is sent."""

    now: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random
    is_away: bool = False
    _n_failures: int = 0
    _n_pauses: int = 0
    _until: float = 0.0

    @property
    def pause_s(self) -> float:
        """Seconds until the next probe."""
        return max(0.0, self._until - self.now())

    def succeed(self) -> bool:
        """Note an answer; return whether the engine was away before."""
        was_away, self.is_away = self.is_away, False
        self._n_failures = self._n_pauses = 0
        return was_away

    def fail(self, retry_after_s: float = 0.0) -> bool:
        """Note a failure; return whether the engine counts as away since now."""
        self._n_failures += 1
        was_away = self.is_away
        if was_away or retry_after_s or self._n_failures >= MAX_FAILURES:
            self.is_away = True
            pause_s = min(MAX_PAUSE_S, MIN_PAUSE_S * 2**self._n_pauses)
            self._n_pauses += self._n_pauses < 10  # noqa: PLR2004  the pause stopped growing before
            asked_s = min(retry_after_s, MAX_ASKED_PAUSE_S)
            self._until = self.now() + max(asked_s * (1 + self.jitter() / 4), pause_s * (0.5 + self.jitter() / 2))
        return self.is_away and not was_away
