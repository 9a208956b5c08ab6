"""A running generation, which outlives its request while what is typed agrees with what it writes."""

from __future__ import annotations

import asyncio

from attrs import define

from starcoder_lsp.completion import Completion
from starcoder_lsp.prompting import CompletionRequest, Model
from starcoder_lsp.session.suggestion_cache import CachedSuggestion, typed_since


@define(eq=False)
class InFlight:
    """A running generation, and the newest request that waits for it. On the event loop."""

    request: CompletionRequest[Model]
    completion: Completion | None = None
    waiter: asyncio.Future[None] | None = None
    texts: tuple[bytes, ...] = ()
    """The text so far of each answer that may still be shown; nothing before there is any text."""
    typed: bytes = b""
    """The text that the user typed at the place since."""

    @property
    def is_waited_for(self) -> bool:
        """Whether a request waits for it now."""
        return self.waiter is not None and not self.waiter.done()

    def agrees(self) -> bool:
        """Whether what is typed and one of the answers begin alike."""
        return not self.texts or any(text.startswith(self.typed) or self.typed.startswith(text) for text in self.texts)

    def matches(self, data: bytes, cursor_byte: int) -> bool:
        """Whether it is worth going on with, now that the text is `data`.

        Before it wrote anything it is not: one for the newer text knows more, and what is evaluated is kept.
        """
        request = self.request
        place = CachedSuggestion(request.snapshot.text.data, request.cursor_byte, request.cursor_byte, b"")
        typed = typed_since(place, data, cursor_byte)
        if typed is None or not self.texts:
            return False
        self.typed = typed[0]
        return self.agrees()

    def serves(self, request: CompletionRequest[Model]) -> bool:
        """Whether its answer will be one to a newer request."""
        mine = self.request
        is_alike = mine.model is request.model and mine.settings == request.settings
        is_enough = mine.n_items >= request.n_items
        is_same = mine.snapshot is request.snapshot and mine.cursor_byte == request.cursor_byte
        return is_alike and is_enough and (is_same or self.matches(request.snapshot.text.data, request.cursor_byte))

    def release(self, error: Exception | None = None) -> None:
        """Let go of the request that waits."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)
