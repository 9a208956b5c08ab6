"""Prefill the prompt at the user's cursor when the editor pauses, so that the next request finds it cached."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from attrs import define, field

from starcoder_lsp.documents.documents import UnknownDocumentError
from starcoder_lsp.engine.engine import Cancellation, EngineError
from starcoder_lsp.prompting import CompletionRequest, Model, prepare
from starcoder_lsp.session.document_state import DocumentState, DocumentStates
from starcoder_lsp.session.request_builder import RequestBuilder
from starcoder_lsp.session.requests import RequestManager
from starcoder_lsp.session.scheduler import AHEAD, SupersededError

IDLE_MS = 250
"""The pause without messages before a prefill: longer than between two keystrokes. Not measured."""


@define(eq=False)
class Prefetcher:
    """Prefills the prompt of the document that the user looks at. On the event loop."""

    requests: RequestManager
    builder: RequestBuilder
    states: DocumentStates
    focused: str = ""
    """The document or cell that the user looks at."""
    _stale: str = ""
    """The same document, until the pieces of other files in its prompt have been chosen again."""
    _tasks: set[asyncio.Future[None]] = field(factory=set)
    """Running tasks; the event loop itself holds no reference to them."""

    def on_focus(self, uri: str) -> None:
        """Prefill the prompt at the last cursor in a document, or at its top, after a pause."""
        if uri != self.focused:
            self.focused = self._stale = uri
        task = asyncio.ensure_future(self._when_idle(uri))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _when_idle(self, uri: str) -> None:
        """Wait, and prefill unless the user goes on.

        If they came from another document, choose the pieces of other files again.
        """
        with suppress(SupersededError, EngineError):  # a request at this place will report it
            await self.requests.scheduler.run(AHEAD, _nothing, delay_ms=IDLE_MS)
            await self._prefetch(uri)

    def _request_at_cursor(self, uri: str) -> tuple[DocumentState, CompletionRequest[Model]] | None:
        """Return the request where the user was last in a document or cell, or at its top, and the document's state.

        Returns `None` if the document was closed or gets no suggestions now.
        """
        with suppress(UnknownDocumentError):
            view = self.builder.texts.view(uri)
            state = None if view is None else self.states[view.key]
            request = None if state is None else self.builder.request_at(view, state.cursor_in(uri) or 0)
            return None if state is None or request is None else (state, request)
        return None

    async def _prefetch(self, uri: str) -> None:
        """Prefill the full window, and generate what follows the last suggestion.

        Raises what scheduler and engine raise.
        """
        found = self._request_at_cursor(uri)
        if found is None or found[1].settings.trigger == "invoked":
            return
        if not found[1].model.engine.capabilities.prefill:
            return
        state, request = found
        is_from_top, renew = state.cursor_in(uri) is None, self._stale == uri

        async def work(cancellation: Cancellation) -> None:
            prefilled = await prepare(request, cancellation, is_from_top=is_from_top, renew=renew)
            if prefilled is not None:
                self.requests.metrics.count_ahead(prefilled.n_evaluated)

        await self.requests.scheduler.run(AHEAD, work)
        self._stale = "" if self._stale == uri else self._stale
        last = state.last_completion
        is_here = last is not None and last.snapshot is request.snapshot and last.cursor_byte == request.cursor_byte
        if last is not None and last.items and is_here:
            await self.requests.prepare_next(state, request, last.items[0])


async def _nothing(_cancellation: Cancellation) -> None:
    """Do nothing: only the delay is wanted."""
