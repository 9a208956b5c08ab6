"""Answer completion requests at a place in a document, and explain the prompt there."""

from __future__ import annotations

import time
from typing import Any

from attrs import define, evolve

from starcoder_lsp.background import in_background
from starcoder_lsp.completion import Completion, Item
from starcoder_lsp.documents.documents import Edit
from starcoder_lsp.session.acceptance import AcceptanceTracker
from starcoder_lsp.session.explaining import explain_request, outcome_of
from starcoder_lsp.session.gating import Gatekeeper
from starcoder_lsp.session.metrics import Metrics
from starcoder_lsp.session.observation import Observation
from starcoder_lsp.session.open_documents import OpenDocuments
from starcoder_lsp.session.scheduler import SupersededError
from starcoder_lsp.session.selected_entry import SelectedEntry


@define(eq=False)
class Answering:
    """Answers the requests of one session. On the event loop."""

    documents: OpenDocuments
    gatekeeper: Gatekeeper
    metrics: Metrics
    acceptance: AcceptanceTracker
    observation: Observation

    async def complete(
        self, uri: str, line: int, character: int, *, automatic: bool, selected: Edit | None = None
    ) -> Completion | None:
        """Answer a completion request; return `None` if the place gets no suggestions now.

        `selected` is the edit that the selected entry of the client's menu would make. The suggestions then continue
        behind that entry, and begin with its text.

        Raises `UnknownDocumentError` for one that is not open, `asyncio.CancelledError` if the client cancels.
        """
        started = time.perf_counter()
        builder, encoding = self.documents.builder, self.documents.builder.texts.encoding
        view, (settings, _model) = builder.texts.view(uri), builder.now()
        with self.metrics.counting() as counts:
            own_byte = 0 if view is None else view.own.text.byte_at(line, character, encoding)
            request = builder.request_at(view, own_byte, 1 if automatic else settings.completion.max_items)
            if view is None or request is None or (automatic and settings.trigger == "invoked"):
                counts.empty += 1
                return None
            state = self.documents.states[view.key]
            state.set_cursor(uri, own_byte)
            entry = None if selected is None else SelectedEntry.of(selected, view, encoding)
            delay_ms = settings.debounce.ms if automatic and settings.debounce.mode != "off" else 0
            asked = entry.taken(request) if entry else request
            completion = await self.documents.requests.answer(state, asked, delay_ms, is_automatic=automatic)
            calm = settings.completion.calm if automatic else 0.0
            completion = await self.gatekeeper.judge(state.gate, completion, calm, self.acceptance.log.recent)
            if not builder.texts.has(view):  # an edit came while it was judged
                raise SupersededError
            if entry is not None:
                completion = entry.in_front_of(completion, view.whole)
            state.last_completion = completion
            latency_ms = (time.perf_counter() - started) * 1000
            self.documents.focus(uri)
            self.metrics.count(completion)
            self.metrics.time(latency_ms)
            cursor_byte = completion.cursor_byte - view.offset_byte
            return evolve(completion, snapshot=view.own, cursor_byte=cursor_byte, latency_ms=latency_ms)
        return None  # superseded

    def offer(self, uri: str, completion: Completion) -> list[tuple[str, Item]]:
        """Record an answer that is sent to the client, and return its suggestions with their names."""
        named = self.acceptance.make(uri, completion)
        self.observation.offer(completion, named)
        return named

    async def explain(self, uri: str, line: int, character: int) -> dict[str, Any] | None:
        """Return what the model would see at a place, and why.

        Return `None` while there is no model, for a document that gets no suggestions, and for a superseded request.
        """
        builder = self.documents.builder
        view = builder.texts.view(uri)
        own_byte = 0 if view is None else view.own.text.byte_at(line, character, builder.texts.encoding)
        request = builder.request_at(view, own_byte)
        if view is None or request is None:
            return None
        try:
            explained = await self.documents.requests.scheduler.run(
                f"explain {uri}", lambda _cancellation: in_background(explain_request, request)
            )
        except SupersededError:
            return None
        state = self.documents.states[view.key]
        outcome = outcome_of(state.last_completion, request, explained["timingsMs"])
        return explained | outcome | {"gate": state.gate.explain(state.last_completion)}
