"""Which work goes on: the newest of each document.

A newer request for a document supersedes the older one, whether that waits or runs. Work is told when nobody waits for
it any more, and ends by itself. On the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from attrs import define, field

from starcoder_lsp.engine.engine import Cancellation

T = TypeVar("T")

AHEAD = "ahead"
"""The key of work that nobody waits for. Whatever else comes, also an edit, supersedes it."""


class SupersededError(Exception):
    """A newer request, or an edit, made this one pointless."""


Work = Callable[[Cancellation], Awaitable[T]]


@define(eq=False)
class Scheduled:
    """One piece of work, and whoever waits for it."""

    answer: asyncio.Future[Any]
    cancellation: Cancellation = field(factory=Cancellation)

    def supersede(self) -> None:
        """Give up on the work; whoever waits gets `SupersededError`."""
        if not self.answer.done():
            self.answer.set_exception(SupersededError())
        self.cancellation.cancel()

    async def run(self, work: Work[Any], delay_ms: float) -> None:
        """Do the work after a while and hand over what came of it, unless that is not wanted any more."""
        if delay_ms:
            await self._pause(delay_ms)
        outcome, error = None, None
        if not self.cancellation.is_cancelled:
            try:
                outcome = await work(self.cancellation)
            except asyncio.CancelledError:
                self.answer.cancel()
                raise
            except Exception as raised:  # noqa: BLE001  every outcome belongs to whoever waits
                error = raised
        if self.answer.done():
            return
        if error is None:
            self.answer.set_result(outcome)
        else:
            self.answer.set_exception(error)

    async def _pause(self, delay_ms: float) -> None:
        """Wait, but no longer than anybody wants the work."""
        over = asyncio.Event()
        timer = asyncio.get_running_loop().call_later(delay_ms / 1000, over.set)
        self.cancellation.when_cancelled(over.set)
        await over.wait()
        timer.cancel()


class Scheduler:
    """Runs work, the newest of each key only."""

    def __init__(self) -> None:
        self._newest: dict[str, Scheduled] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, key: str, work: Work[T], *, delay_ms: float = 0) -> T:
        """Run `work` after `delay_ms` in which nothing newer came for `key`.

        Raises `SupersededError` if something newer comes before it is done, and whatever `work` raises. A cancelled
        await cancels the work.
        """
        ticket = Scheduled(asyncio.get_running_loop().create_future())
        self.supersede(key)
        self._newest[key] = ticket
        task = asyncio.ensure_future(ticket.run(work, delay_ms))
        self._running.add(task)  # the event loop itself would let go of it
        task.add_done_callback(self._running.discard)
        try:
            outcome: T = await ticket.answer
            return outcome
        finally:
            ticket.cancellation.cancel()
            if self._newest.get(key) is ticket:
                del self._newest[key]

    def supersede(self, key: str) -> None:
        """Give up on the work of `key`, if there is any, and on what was to be done ahead of need."""
        for given_up in {key, AHEAD}:
            older = self._newest.pop(given_up, None)
            if older is not None:
                older.supersede()

    def supersede_all(self) -> None:
        """Give up on all work."""
        for key in list(self._newest):
            self.supersede(key)
