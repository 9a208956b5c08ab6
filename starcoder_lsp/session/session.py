"""One client's session: its documents, settings, model and counters, and what each message does to them.

It speaks in the program's own values; `lsp/` translates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, evolve, field

from starcoder_lsp.background import in_background
from starcoder_lsp.completion import Completion, Item
from starcoder_lsp.documents.documents import Edit, OutOfSyncError, UnknownDocumentError
from starcoder_lsp.documents.notebooks import Cell, CellText, NotebookChange, View
from starcoder_lsp.prompting import CompletionRequest, Model, decline_reason
from starcoder_lsp.session.acceptance import AcceptanceTracker
from starcoder_lsp.session.document_state import DocumentState
from starcoder_lsp.session.edit_history import EditHistory
from starcoder_lsp.session.explaining import explain_request, outcome_of
from starcoder_lsp.session.gating import Gatekeeper
from starcoder_lsp.session.metrics import Metrics
from starcoder_lsp.session.model_slot import ModelSlot
from starcoder_lsp.session.observation import Observation
from starcoder_lsp.session.open_texts import OpenTexts
from starcoder_lsp.session.prefetch import Prefetcher
from starcoder_lsp.session.reading import Reader
from starcoder_lsp.session.requests import RequestManager
from starcoder_lsp.session.scheduler import Scheduler, SupersededError
from starcoder_lsp.session.selected_entry import SelectedEntry
from starcoder_lsp.session.status import StatusReporter
from starcoder_lsp.settings import Settings


@define
class Session:
    """One client's state. Every method runs on the event loop."""

    settings: Settings = field(factory=Settings)
    texts: OpenTexts = field(factory=OpenTexts)
    history: EditHistory = field(factory=EditHistory)
    metrics: Metrics = field(factory=Metrics)
    acceptance: AcceptanceTracker = field(factory=AcceptanceTracker)
    status: StatusReporter = field(factory=StatusReporter)
    scheduler: Scheduler = field(factory=Scheduler)
    reader: Reader = field(factory=Reader)
    states: dict[str, DocumentState] = field(factory=dict)
    """Of each open document and notebook, by its URI."""
    requests: RequestManager = field(init=False)
    prefetcher: Prefetcher = field(init=False)
    slot: ModelSlot = field(init=False)
    observation: Observation = field(init=False)
    gatekeeper: Gatekeeper = field(factory=Gatekeeper)
    client: str = "unknown"
    """The client's name and version."""

    def __attrs_post_init__(self) -> None:
        """Make the parts that share the scheduler and the counters."""
        self.slot = ModelSlot(self.scheduler, self.status, self._refocus)
        self.requests = RequestManager(self.scheduler, self.metrics, self.status)
        self.prefetcher = Prefetcher(self.requests, self._request_at_cursor)
        self.observation = Observation(
            lambda: (self.settings, self.model), self.texts, self.history.root_of, self.acceptance.log
        )

    @property
    def model(self) -> Model | None:
        """The model, if it is loaded."""
        return self.slot.model

    async def load_model(self, on_progress: Callable[[float], None], on_message: Callable[[str], None]) -> Model:
        """Load the configured model in place of the one that is there, see `ModelSlot.load`."""
        model = await self.slot.load(self.settings, self.client, on_progress, on_message)
        self._forget_suggestions()
        self._refocus()
        return model

    # What the editor has open

    def open(self, uri: str, language_id: str, version: int, text: str) -> None:
        """Open a document; it replaces one that is open under that URI already."""
        self._drop(uri)
        self.texts.documents.open(uri, language_id, version, text)
        self.focus(uri)

    def focus(self, uri: str) -> None:
        """Note that the user looks at a document or cell. Raises `UnknownDocumentError`."""
        self._focus(uri, self.texts.view(uri))

    def _focus(self, uri: str, view: View | None) -> None:
        self.history.use(uri if view is None else view.whole.uri)
        if view is not None:
            self.reader.read(view.whole, self.settings, self.model)
        self.prefetcher.on_focus(uri)

    def _refocus(self) -> None:
        with suppress(UnknownDocumentError):
            self.focus(self.prefetcher.focused)

    def change(self, uri: str, version: int, edits: Sequence[Edit]) -> None:
        """Apply a change. Work for the text before it is superseded.

        Raises `UnknownDocumentError` and `OutOfSyncError`, see `Documents.change`.
        """
        try:
            self.texts.documents.change(uri, version, edits, self.texts.encoding)
        except (UnknownDocumentError, OutOfSyncError):
            self._abandon(uri)
            raise
        except Exception:  # a bug; the edits after this one are for another text
            self.mark_out_of_sync(uri)
            raise
        self._edited(uri, uri, edits)

    def change_notebook(self, uri: str, version: int, change: NotebookChange) -> None:
        """Apply a change. One that does more than edit cells supersedes all work for the notebook.

        Raises as `Notebooks.change`.
        """
        is_edit = not (change.splice or change.closed or change.opened or change.changed_cells)
        if not is_edit:
            self._abandon(uri)
        try:
            self.texts.notebooks.change(uri, version, change, self.texts.encoding)
        except (UnknownDocumentError, OutOfSyncError):
            self._abandon(uri)
            raise
        for opened in change.opened:
            self.prefetcher.focused = opened.uri
            self._state(uri).set_cursor(opened.uri, 0)
        if not is_edit:
            self._refocus()
        for cell in change.edits:
            self._edited(uri, cell.uri, cell.edits)

    def _edited(self, key: str, uri: str, edits: Sequence[Edit]) -> None:
        """Record edits that were applied to a document, or to a cell of the notebook `key`."""
        view = self.texts.view(uri)
        self.observation.edited(view, uri, edits)
        self.gatekeeper.edited(key)
        if view is None or not edits or edits[-1].start_line is None:
            self._abandon(key)
            return
        state, place = self._state(key), self.texts.end_of(edits[-1], view.own.text)
        state.set_cursor(uri, place)
        inserted = edits[-1].text.encode("utf-8", "surrogatepass")
        self.acceptance.edited(uri, place - len(inserted), inserted)
        self.requests.edited(state, view.whole.text.data, view.offset_byte + place)
        self.history.edit(view.whole.uri, edits, view.whole.text.line_of(view.offset_byte))
        self._focus(uri, view)

    def mark_out_of_sync(self, uri: str) -> None:
        """Answer nothing for a document until the editor sends its whole text: an edit got lost."""
        self.texts.mark_out_of_sync(uri)
        self.observation.close(uri)
        self._abandon(uri)

    def close_document(self, uri: str) -> None:
        """Forget a document, but not its KV cells: it may be opened again. Raises `UnknownDocumentError`."""
        self._drop(uri)
        self.texts.documents.close(uri)
        self._persist(uri)

    def open_notebook(self, uri: str, version: int, cells: Sequence[Cell], texts: Sequence[CellText]) -> None:
        """Open a notebook; it replaces one that is open under that URI already."""
        self._drop(uri)
        self.texts.notebooks.open(uri, version, cells, texts)
        self.prefetcher.focused = next((cell.uri for cell in cells if not cell.is_markup), "")
        self._refocus()

    def close_notebook(self, uri: str) -> None:
        """Forget a notebook and all of its cells. Raises `UnknownDocumentError`."""
        self._drop(uri)
        for joined_uri in self.texts.notebooks.close(uri):
            self.history.close(joined_uri)
            self._persist(joined_uri)

    def _state(self, key: str) -> DocumentState:
        """Return the state of an open document or notebook, a new one at first."""
        return self.states.setdefault(key, DocumentState(key))

    def _abandon(self, key: str) -> None:
        """End the work for a document or notebook."""
        if key in self.states:
            self.requests.abandon(self.states[key])

    def _drop(self, key: str) -> None:
        """Forget all that is known of a document or notebook."""
        self._abandon(key)
        self.observation.close(key)
        self.gatekeeper.close(key)
        self.states.pop(key, None)
        self.history.close(key)
        self.reader.forget(key)

    # What the editor asks

    async def complete(
        self, uri: str, line: int, character: int, *, automatic: bool, selected: Edit | None = None
    ) -> Completion | None:
        """Answer a completion request; return `None` if the place gets no suggestions now.

        `selected` is the edit that the selected entry of the client's menu would make. The suggestions then continue
        behind that entry, and begin with its text.

        Raises `UnknownDocumentError` for one that is not open, `asyncio.CancelledError` if the client cancels.
        """
        started = time.perf_counter()
        view = self.texts.view(uri)
        settings = self.settings
        with self.metrics.counting() as counts:
            place = 0 if view is None else view.own.text.byte_at(line, character, self.texts.encoding)
            request = self.request_at(view, place, 1 if automatic else settings.completion.max_items)
            if view is None or request is None or (automatic and settings.trigger == "invoked"):
                counts.empty += 1
                return None
            state = self._state(view.key)
            state.set_cursor(uri, place)
            entry = None if selected is None else SelectedEntry.of(selected, view, self.texts.encoding)
            delay_ms = settings.debounce.ms if automatic and settings.debounce.mode != "off" else 0
            completion = await self.requests.answer(state, entry.taken(request) if entry else request, delay_ms)
            calm = settings.completion.calm if automatic else 0.0
            completion = await self.gatekeeper.judge(view.key, completion, calm, self.acceptance.log.recent)
            if entry is not None:
                completion = entry.in_front_of(completion, view.whole)
            state.last_completion = completion
            latency_ms = (time.perf_counter() - started) * 1000
            self.focus(uri)
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

    def request_at(self, view: View | None, place: int = 0, n_items: int = 1) -> CompletionRequest[Model] | None:
        """Return the request at byte `place` of a document or cell; `None` if it gets no suggestions now."""
        if self.model is None or view is None or self.decline_reason(view):
            return None
        cursor_byte = view.offset_byte + min(place, len(view.own.text.data))
        context = self.history.workspace_context(view.own.uri, self.texts.whole_text)
        return CompletionRequest(view.whole, cursor_byte, self.model, self.settings, context, n_items)

    def _request_at_cursor(self, uri: str) -> tuple[DocumentState, CompletionRequest[Model]] | None:
        """Return the request where the user was last in a document or cell, or at its top."""
        with suppress(UnknownDocumentError):
            view = self.texts.view(uri)
            state = None if view is None else self._state(view.key)
            request = None if state is None else self.request_at(view, state.cursor_in(uri) or 0)
            return None if state is None or request is None else (state, request)
        return None

    def _persist(self, uri: str) -> None:
        """Let the engine keep a closed document's KV cells, if it can."""
        if self.slot.cache is not None:
            self.slot.cache.persist(uri)

    async def explain(self, uri: str, line: int, character: int) -> dict[str, Any] | None:
        """Return what the model would see at a place, and why.

        Return `None` while there is no model, for a document that gets no suggestions, and for a superseded request.
        """
        view = self.texts.view(uri)
        place = 0 if view is None else view.own.text.byte_at(line, character, self.texts.encoding)
        request = self.request_at(view, place)
        if view is None or request is None:
            return None
        try:
            explained = await self.scheduler.run(
                f"explain {uri}", lambda _cancellation: in_background(explain_request, request)
            )
        except SupersededError:
            return None
        last = self._state(view.key).last_completion
        outcome = outcome_of(last, request, explained["timingsMs"])
        return explained | outcome | {"gate": self.gatekeeper.explain(view.key, last)}

    def writable(self, uri: str) -> View | None:
        """Return the document or cell if something can be written in it now. Raises `UnknownDocumentError`."""
        view = self.texts.view(uri)
        return None if self.model is None or view is None or self.decline_reason(view) else view

    def decline_reason(self, view: View) -> str:
        """Return why a document gets no suggestions, or an empty string."""
        return decline_reason(view.whole, self.settings, self.history.root_of(view.own.uri))

    async def report(self) -> dict[str, Any]:
        """Return the answer to `starcoder/metrics`."""
        cached = () if self.slot.cache is None else await self.slot.cache.cached()
        report = self.metrics.report(self.model, cached)
        return report | {"suggestions": self.acceptance.report()}

    async def clear_cache(self) -> None:
        """Forget every KV state of this session, on disk too, and every suggestion."""
        self._forget_suggestions()
        if self.slot.cache is not None:
            await self.slot.cache.forget()

    def _forget_suggestions(self) -> None:
        for state in self.states.values():
            state.cache.clear()

    def stop(self) -> None:
        """Supersede all work."""
        self.reader.stop()
        self.scheduler.supersede_all()

    async def end(self) -> None:
        """Let go of the engine, which may keep what it has of the documents."""
        await self.slot.close()
