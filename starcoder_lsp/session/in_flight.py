"""A running generation, which survives keystrokes that match its output."""

from __future__ import annotations

import asyncio
import time

from attrs import define, field

from starcoder_lsp.completion import Completion
from starcoder_lsp.prompting import CompletionRequest, Model
from starcoder_lsp.session.admission import Turn
from starcoder_lsp.session.suggestion_cache import CachedSuggestion, typed_since


@define(eq=False)
class InFlight:
    """A running generation, and the newest request that waits for it. On the event loop."""

    request: CompletionRequest[Model]
    completion: Completion | None = None
    waiter: asyncio.Future[None] | None = None
    texts: tuple[bytes, ...] = ()
    """The text so far of each answer that may still be shown; empty before there is any."""
    typed: bytes = b""
    """The text that the user has typed at the cursor since the generation began."""
    turn: Turn = field(factory=lambda: Turn(is_automatic=True))
    counts_from_s: float = field(factory=time.perf_counter)
    """The time from which its deadline counts: the end of the delay of the request that began it."""

    @property
    def is_waited_for(self) -> bool:
        """Return whether a request waits for it now."""
        return self.waiter is not None and not self.waiter.done()

    @property
    def waited_ms(self) -> float:
        """Return how much of the time until its deadline has passed."""
        return max(0.0, time.perf_counter() - self.counts_from_s) * 1000

    def agrees(self) -> bool:
        """Return whether the typed text begins with the text so far of an answer, or that with the typed text."""
        return not self.texts or any(text.startswith(self.typed) or self.typed.startswith(text) for text in self.texts)

    def matches(self, data: bytes, cursor_byte: int) -> bool:
        """Return whether the generation may go on after an edit that made the document `data`, and note the typed text.

        Before the first token it may not: a new generation sees more text, and the evaluated prompt is cached.
        """
        request = self.request
        place = CachedSuggestion(request.snapshot.text.data, request.cursor_byte, request.cursor_byte, b"")
        typed = typed_since(place, data, cursor_byte)
        if typed is None or not self.texts:
            return False
        self.typed = typed[0]
        return self.agrees()

    def serves(self, request: CompletionRequest[Model]) -> bool:
        """Return whether the answer of this generation will also answer a newer request."""
        mine = self.request
        is_alike = mine.model is request.model and mine.settings == request.settings
        is_enough = mine.n_items >= request.n_items
        is_same = mine.snapshot is request.snapshot and mine.cursor_byte == request.cursor_byte
        return is_alike and is_enough and (is_same or self.matches(request.snapshot.text.data, request.cursor_byte))

    def release(self, error: Exception | None = None) -> None:
        """Wake the request that waits, with an error if there is one."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)
