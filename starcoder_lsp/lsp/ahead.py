"""What is evaluated before anybody asks: the place where the person is, once nothing has come for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from attrs import define, field

from starcoder_lsp.documents.documents import UnknownDocument
from starcoder_lsp.engine.engine import Cancellation, EngineError
from starcoder_lsp.lsp.answers import Answers, Question
from starcoder_lsp.lsp.scheduler import AHEAD, Superseded
from starcoder_lsp.prompting import prepare

IDLE_MS = 250
"""How long nothing must come before the next place is evaluated ahead of need: more than between two keystrokes."""


@define(eq=False)
class Ahead:
    """Where the person is, and the work that is done there meanwhile. On the event loop.

    `question` says what would be asked at a byte of a document, `None` where nothing is suggested, and raises
    `UnknownDocument`.
    """

    answers: Answers
    question: Callable[[str, int], Question | None]
    focused: str = ""
    """The document that the person looks at."""
    _stale: str = ""
    """The same, as long as other files have not been looked at since the person came to it."""
    _places: dict[str, int] = field(factory=dict)
    """The byte at which each document was last edited or asked about, also if it is closed."""
    _tasks: set[asyncio.Future[None]] = field(factory=set)
    """What runs with nobody waiting for it; the event loop itself would let go of it."""

    def mark(self, uri: str, place: int) -> None:
        """The person edits or asks at byte `place`."""
        self._places[uri] = place

    def forget(self, uri: str) -> None:
        """A document will not come back under this name."""
        self._places.pop(uri, None)

    def look_at(self, uri: str) -> None:
        """The person looks at a document: evaluate the place where they were, or its beginning, when nobody types."""
        if uri != self.focused:
            self.focused = self._stale = uri
        self.start(self._when_idle(uri))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something run for which nobody waits."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _when_idle(self, uri: str) -> None:
        """Wait, and evaluate unless the person goes on.

        Where they come from another document, other files are looked at again first.
        """
        with suppress(Superseded, EngineError):  # a request for this place will tell
            await self.answers.scheduler.run(AHEAD, _nothing, delay_ms=IDLE_MS)
            with suppress(UnknownDocument):
                await self._prepare(uri)

    async def _prepare(self, uri: str) -> None:
        """The whole window, and what comes next. Raises `UnknownDocument`, and what scheduler and engine raise."""
        place = self._places.get(uri)
        question = self.question(uri, place or 0)
        if question is None or question.settings.trigger == "invoked":
            return
        cursor_byte, renew = None if place is None else question.cursor_byte, self._stale == uri

        async def work(cancellation: Cancellation) -> None:
            prefilled = await prepare(
                question.snapshot,
                cursor_byte,
                question.model,
                question.settings,
                cancellation,
                question.around,
                renew=renew,
            )
            if prefilled is not None:
                self.answers.metrics.count_ahead(prefilled.n_evaluated)

        await self.answers.scheduler.run(AHEAD, work)
        self._stale = "" if self._stale == uri else self._stale
        last = self.answers.last.get(uri)
        if last is not None and last.items and last.snapshot is question.snapshot and last.cursor_byte == cursor_byte:
            await self.answers.prepare_next(question, last.items[0])


async def _nothing(_cancellation: Cancellation) -> None:
    """Only wait."""
