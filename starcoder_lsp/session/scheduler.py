"""Run the newest work of each document.

A newer request for a document supersedes the older one, whether that waits or runs. Superseded work is cancelled by its
`Cancellation` and ends by itself, since a partly evaluated prompt is kept. On the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from attrs import define, field

from starcoder_lsp.engine.engine import Cancellation

T = TypeVar("T")

AHEAD = "ahead"
"""The key of prefetching. Any other work, and any edit, supersedes it."""


class SupersededError(Exception):
    """A newer request or an edit replaced this request."""


Work = Callable[[Cancellation], Awaitable[T]]


@define(eq=False)
class Scheduled:
    """One piece of work, and the future of its result."""

    answer: asyncio.Future[Any]
    cancellation: Cancellation = field(factory=Cancellation)

    def supersede(self) -> None:
        """Cancel the work; its result is `SupersededError`."""
        if not self.answer.done():
            self.answer.set_exception(SupersededError())
        self.cancellation.cancel()

    async def run(self, work: Work[Any], delay_ms: float) -> None:
        """Do the work after a delay and set its result, unless it was superseded."""
        if delay_ms:
            await self._pause(delay_ms)
        outcome, error = None, None
        if not self.cancellation.is_cancelled:
            try:
                outcome = await work(self.cancellation)
            except asyncio.CancelledError:
                self.answer.cancel()
                raise
            except Exception as raised:  # noqa: BLE001  the caller of `Scheduler.run` gets every error
                error = raised
        if self.answer.done():
            return
        if error is None:
            self.answer.set_result(outcome)
        else:
            self.answer.set_exception(error)

    async def _pause(self, delay_ms: float) -> None:
        """Wait until the delay is over or the work is cancelled."""
        over = asyncio.Event()
        timer = asyncio.get_running_loop().call_later(delay_ms / 1000, over.set)
        self.cancellation.when_cancelled(over.set)
        await over.wait()
        timer.cancel()


class Scheduler:
    """Runs the newest work of each key."""

    def __init__(self) -> None:
        self._newest: dict[str, Scheduled] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, key: str, work: Work[T], *, delay_ms: float = 0) -> T:
        """Run `work` for `key` after `delay_ms`, and return its result.

        Raises `SupersededError` if newer work for `key` comes before it is done, and every error of `work`. A
        cancelled await cancels the work.
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
        """Supersede the work of `key`, if there is any, and all prefetching."""
        for given_up in {key, AHEAD}:
            older = self._newest.pop(given_up, None)
            if older is not None:
                older.supersede()

    def supersede_all(self) -> None:
        """Supersede all work."""
        for key in list(self._newest):
            self.supersede(key)
