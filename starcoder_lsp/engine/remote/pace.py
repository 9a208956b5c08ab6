"""Send fewer requests to an engine that answers more slowly than the user types.

A request that is superseded before its first token has taken a place in the engine's queue, and the next one begins at
the queue's end. After some of these in a row, the next requests wait for a pause in typing, and are not sent without
one.
"""

from __future__ import annotations

import asyncio
from typing import Final

from attrs import define

MIN_LEFT: Final = 2
"""The requests in a row that must be superseded without a token until one waits. Not measured."""
FIRST_WAIT_S: Final = 0.1
MAX_WAIT_S: Final = 0.6
"""Waits double from the first to the second. Pauses between words are longer, those inside a word shorter."""
MAX_WAIT_SHARE: Final = 0.25
"""The share of a request's time that it may wait. If all of a short deadline passed before requests are sent, no answer
could end the waiting. Not measured."""
PROMPT_S: Final = 0.3
"""A first token within this time ends all waiting. Not measured."""
WEIGHT: Final = 0.5
"""The weight of the newest time to a first token in the average."""


@define(eq=False)
class Pace:
    """Decides how long the next request waits before it is sent, by the fates of the last ones."""

    n_left: int = 0
    """The requests in a row that were superseded without a token."""
    expected_s: float = 0.0
    """The average time to the first token; 0 before the first one."""

    @property
    def wait_s(self) -> float:
        """The wait before the next request; never longer than the engine itself takes."""
        if self.n_left < MIN_LEFT:
            return 0.0
        wait_s: float = FIRST_WAIT_S * 2 ** min(self.n_left - MIN_LEFT, 10)
        return min(MAX_WAIT_S, wait_s, self.expected_s)

    async def wait(self, timeout_ms: float) -> None:
        """Wait before a request with this deadline is sent. If the wait is cancelled, it is not sent."""
        if self.wait_s:
            await asyncio.sleep(min(self.wait_s, timeout_ms / 1000 * MAX_WAIT_SHARE))

    def begun(self, after_s: float) -> None:
        """Note the time to the first token of an answer."""
        self.expected_s = after_s if not self.expected_s else self.expected_s + WEIGHT * (after_s - self.expected_s)
        self.n_left = 0 if after_s <= PROMPT_S else self.n_left // 2

    def left(self, after_s: float) -> None:
        """Note that a request was superseded or cancelled before its first token."""
        self.expected_s = max(self.expected_s, after_s)
        self.n_left += 1
