"""The one model thread, and who may use it next.

A newer request for a document supersedes the older one, whether that waits or runs. Work is asked, between two
pieces, whether it is still wanted. The event loop only waits.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from attrs import define, field

from starcoder_lsp.engine.engine import Cancelled

T = TypeVar("T")

AHEAD = "ahead"
"""The key of work that nobody waits for. Whatever else comes, also an edit, supersedes it."""


class Superseded(Exception):  # noqa: N818  not an error: the answer is not wanted any more
    """A newer request, or an edit, made this one pointless."""


@define(eq=False)
class Ticket:
    """One piece of work for the model thread."""

    work: Callable[[Cancelled], Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]
    stopped: bool = field(default=False)

    def is_stopped(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.stopped

    def supersede(self) -> None:
        """Give up on the work; whoever waits gets `Superseded`. On the event loop."""
        self.stopped = True
        if not self.answer.done():
            self.answer.set_exception(Superseded())

    def run(self) -> None:
        """Do the work and hand over what came of it. On the model thread."""
        if self.stopped:
            return
        outcome, error = None, None
        try:
            outcome = self.work(self.is_stopped)
        except BaseException as raised:  # noqa: BLE001  every outcome belongs to whoever waits
            error = raised
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.settle, outcome, error)

    def settle(self, outcome: object, error: BaseException | None) -> None:
        """Hand over the outcome, unless it is not wanted any more. On the event loop."""
        if self.answer.done():
            return
        if error is None:
            self.answer.set_result(outcome)
        else:
            self.answer.set_exception(error)


class Scheduler:
    """Runs work on the model thread, the newest of each key only."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._newest: dict[str, Ticket] = {}
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    async def run(self, key: str, work: Callable[[Cancelled], T], *, delay_ms: float = 0) -> T:
        """Run `work` after `delay_ms` in which nothing newer came for `key`.

        Raises `Superseded` if something newer comes before it is done, and whatever `work` raises. A cancelled await
        stops the work.
        """
        loop = asyncio.get_running_loop()
        ticket = Ticket(work, loop, loop.create_future())
        self.supersede(key)
        self._newest[key] = ticket
        timer = loop.call_later(delay_ms / 1000, self._queue.put, ticket.run)
        try:
            outcome: T = await ticket.answer
            return outcome
        finally:
            ticket.stopped = True
            timer.cancel()
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

    def close(self, timeout_s: float, last: Callable[[], None] | None = None) -> bool:
        """Stop all work, then do what comes last; false if the thread is still busy after `timeout_s`."""
        self.supersede_all()
        if last is not None:
            self._queue.put(last)
        self._queue.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            work()
