"""Let few generations of a session run at once, and refuse those whose turn would come too late.

The work for many documents at once would share the model, and all answers would come when the user has typed on. So the
newest generation begins first, one that the user invoked before all others, and an automatic one that has waited for
too long never begins. Work that has begun goes on. On the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from attrs import define, field

from starcoder_lsp.engine.engine import Cancellation
from starcoder_lsp.session.scheduler import SupersededError

T = TypeVar("T")
N_AT_ONCE: Final = 2
"""Generations at once: the window of one is chosen, or its text is judged, while the model works for the other."""
MAX_WAIT_S: Final = 1.5
"""After such a wait the answer to an automatic request is worthless. And work that has run for so long holds no other
up any more: on a slow machine a prompt may take five seconds, and the user be in another document. With it the last of
500 replies comes within 3 s (`bench/burst.py`), with 2 s after up to 3.3 s."""


@define(eq=False)
class Turn:
    """The turn of one generation."""

    is_automatic: bool
    """False if a request that the user invoked waits for the generation."""
    begins: asyncio.Future[None] = field(init=False)
    """Done when it may begin; `SupersededError` if it never may."""


@define(eq=False)
class Admission:
    """The turns of one session's generations."""

    _waiting: list[Turn] = field(factory=list)
    """The oldest first."""
    _running: set[Turn] = field(factory=set)
    """Those that hold others up."""

    async def run(self, turn: Turn, work: Callable[[], Awaitable[T]], cancellation: Cancellation) -> T:
        """Do `work` when its turn comes, and return its result.

        Raises `SupersededError` if it was cancelled before or has waited for too long, and whatever `work` raises.
        """
        loop = asyncio.get_running_loop()
        turn.begins = loop.create_future()
        self._waiting.append(turn)
        cancellation.when_cancelled(partial(self._leave, turn))
        self._admit()
        timer = loop.call_later(MAX_WAIT_S, self._expire, turn)
        try:
            await turn.begins
            timer.cancel()
            timer = loop.call_later(MAX_WAIT_S, self._leave, turn)  # it holds no other up any more
            return await work()
        finally:
            timer.cancel()
            self._leave(turn)

    def _admit(self) -> None:
        """Let the next ones begin while there is room."""
        while self._waiting and len(self._running) < N_AT_ONCE:
            newest = max(range(len(self._waiting)), key=lambda at: (not self._waiting[at].is_automatic, at))
            turn = self._waiting.pop(newest)
            if turn.begins.done():  # its await was cancelled
                continue
            turn.begins.set_result(None)
            self._running.add(turn)

    def _expire(self, turn: Turn) -> None:
        if turn.is_automatic:
            self._refuse(turn)

    def _leave(self, turn: Turn) -> None:
        """Hold no other up any more, or never begin."""
        self._refuse(turn)
        self._running.discard(turn)
        self._admit()

    def _refuse(self, turn: Turn) -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)
            if not turn.begins.done():
                turn.begins.set_exception(SupersededError())
