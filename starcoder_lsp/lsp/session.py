"""What one client's session holds, and what happens between a handler and the pipeline.

Documents, settings, the model, and the counters. Speaks in the program's own values: `server.py`
translates.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, evolve, field

from starcoder_lsp.background import in_background
from starcoder_lsp.completion import Completion
from starcoder_lsp.context.explain import explain
from starcoder_lsp.documents.documents import Documents, Edit, OutOfStep, UnknownDocument
from starcoder_lsp.documents.notebooks import Cell, CellText, NotebookChange, Notebooks, View
from starcoder_lsp.documents.text import PositionEncoding, Text
from starcoder_lsp.engine.engine import Cancellation, EngineError
from starcoder_lsp.lsp.ahead import Ahead
from starcoder_lsp.lsp.answers import Answers, Question
from starcoder_lsp.lsp.metrics import Metrics
from starcoder_lsp.lsp.offers import Offers
from starcoder_lsp.lsp.recent import Recent
from starcoder_lsp.lsp.scheduler import Scheduler, Superseded
from starcoder_lsp.lsp.selected import Entry
from starcoder_lsp.lsp.status import StatusTeller
from starcoder_lsp.prompting import Model, ask, see, why_not
from starcoder_lsp.settings import Settings
from starcoder_lsp.suggestions.postprocess import FILTERS

MODEL_KEY = "model"
"""The scheduler's key for work that belongs to no document."""
LOWEST_VERSION = -(2**31)
"""The protocol's versions are integers of 32 bits."""


@define
class Session:
    """One client's state. Every method runs on the event loop."""

    settings: Settings = field(factory=Settings)
    documents: Documents = field(factory=Documents)
    notebooks: Notebooks = field(factory=Notebooks)
    recent: Recent = field(factory=Recent)
    metrics: Metrics = field(factory=Metrics)
    offers: Offers = field(factory=Offers)
    status: StatusTeller = field(factory=StatusTeller)
    scheduler: Scheduler = field(factory=Scheduler)
    answers: Answers = field(init=False)
    ahead: Ahead = field(init=False)
    model: Model | None = None
    encoding: PositionEncoding = "utf-16"
    client: str = "unknown"
    """The client's name and version."""

    def __attrs_post_init__(self) -> None:
        """Share the scheduler and the counters."""
        self.answers = Answers(self.scheduler, self.metrics, self.status)
        self.ahead = Ahead(self.answers, lambda uri, place: self._question(self._view(uri), place))

    async def load_model(self, on_progress: Callable[[float], None], on_message: Callable[[str], None]) -> Model:
        """Load the configured model in place of the one that is there. Raises `EngineError`.

        `on_message` is told what a user should know of it, also later.
        """
        from starcoder_lsp.engine.loading import Listeners, open_model  # not before `initialize` is answered

        settings, old = self.settings, self.model
        self.model = None
        self.scheduler.supersede_all()  # nothing that waits may find the old model closed
        self.status.load()

        async def work(cancellation: Cancellation) -> Model:
            if old is not None:
                await old.engine.close(is_restart=True)
            listeners = Listeners(on_progress, on_message, self._follow)
            prompts, engine = await open_model(settings, listeners, self.client)
            if cancellation.is_cancelled:
                await engine.close()
                raise Superseded
            return Model.of(prompts, engine)

        try:
            self.model = await self.scheduler.run(MODEL_KEY, work)
        except EngineError as error:
            self.status.fail(str(error))
            raise
        self.status.loaded(self.model.prompts.name)
        self.answers.memory.forget_all()
        self._refocus()
        return self.model

    def _follow(self, state: str) -> None:
        """The engine is loading its model again, has it back (an empty text), or is lost."""
        if self.model is None:
            return
        if state == "loading":
            self.status.load()
        elif state:
            self.status.fail(state)
        else:
            self.status.loaded(self.model.prompts.name)
            self._refocus()

    def open(self, uri: str, language_id: str, version: int, text: str) -> None:
        """Take in a document, in place of one that is open under that name already."""
        self.answers.forget_flight(uri)
        self.answers.memory.forget(uri)
        self.documents.open(uri, language_id, version, text)
        self.focus(uri)

    def focus(self, uri: str) -> None:
        """The person looks at a document. Raises `UnknownDocument`."""
        if uri not in self.documents and uri not in self.notebooks:
            raise UnknownDocument(uri)
        self.recent.use(uri)
        self.ahead.look_at(uri)

    def _refocus(self) -> None:
        if self.ahead.focused in self.documents or self.ahead.focused in self.notebooks:
            self.focus(self.ahead.focused)

    def change(self, uri: str, version: int, edits: Sequence[Edit]) -> None:
        """Apply a change. What is being computed for the text before it is not wanted any more.

        Raises `UnknownDocument` and `OutOfStep`, see `Documents.change`.
        """
        try:
            snapshot = self.documents.change(uri, version, edits, self.encoding)
        except (UnknownDocument, OutOfStep):
            self.answers.forget_flight(uri)
            raise
        except Exception:  # a bug; the edits after this one are for another text
            self.lose_step(uri)
            raise
        if edits and edits[-1].start_line is not None:
            place = end_of(edits[-1], snapshot.text, self.encoding)
            self.ahead.mark(uri, place)
            inserted = edits[-1].text.encode("utf-8", "surrogatepass")
            self.offers.edited(uri, place - len(inserted), inserted)
            self.answers.edited(uri, snapshot.text.data, place)
            self.recent.edit(uri, edits)
            self.focus(uri)
        else:
            self.answers.forget_flight(uri)

    def lose_step(self, uri: str) -> None:
        """Trust the text here no more, until the editor sends all of it: an edit got lost."""
        with suppress(UnknownDocument, OutOfStep):
            self.documents.change(uri, LOWEST_VERSION, (), self.encoding)
        with suppress(UnknownDocument):
            self.notebooks.lose_step(uri)

    def close_document(self, uri: str) -> None:
        """Forget a document's text and keep its KV cells, for when it is opened again. Raises `UnknownDocument`."""
        self.answers.forget_flight(uri)
        self.documents.close(uri)
        self.recent.close(uri)
        self.answers.last.pop(uri, None)
        self.answers.memory.forget(uri)
        self._persist(uri)

    def open_notebook(self, uri: str, version: int, cells: Sequence[Cell], texts: Sequence[CellText]) -> None:
        """Take in a notebook, in place of one that is open under that name already."""
        self.answers.forget_flight(uri)
        self.notebooks.open(uri, version, cells, texts)
        self.ahead.focused = next((cell.uri for cell in cells if not cell.is_markup), "")
        self._refocus()

    def change_notebook(self, uri: str, version: int, change: NotebookChange) -> None:
        """Apply a change; it makes what is being computed for any cell worthless. Raises as `Notebooks.change`."""
        self.answers.forget_flight(uri)
        edited = self.notebooks.change(uri, version, change, self.encoding)
        for closed in change.closed:
            self._forget(closed)
        for opened in change.opened:
            self.ahead.focused = opened.uri
            self.ahead.mark(opened.uri, 0)
        for cell, snapshot in zip(change.edits, edited, strict=True):
            if cell.edits and cell.edits[-1].start_line is not None:
                self.ahead.focused = cell.uri
                self.ahead.mark(cell.uri, end_of(cell.edits[-1], snapshot.text, self.encoding))
        self._refocus()

    def close_notebook(self, uri: str) -> None:
        """Forget a notebook and all of its cells. Raises `UnknownDocument`."""
        self.answers.forget_flight(uri)
        cells, joined = self.notebooks.close(uri)
        for cell_uri in cells:
            self._forget(cell_uri)
        for joined_uri in joined:
            self.answers.memory.forget(joined_uri)
            self._persist(joined_uri)

    def _forget(self, cell_uri: str) -> None:
        self.answers.last.pop(cell_uri, None)
        self.ahead.forget(cell_uri)

    async def complete(
        self, uri: str, line: int, character: int, *, automatic: bool, selected: Edit | None = None
    ) -> Completion | None:
        """Answer a completion request; `None` where there is nothing to say about this place now.

        With an entry of the client's menu `selected`, which would make an edit around the cursor, the suggestions are
        those behind it, the entry's own text in front.

        Raises `UnknownDocument` for one that is not open, `asyncio.CancelledError` if the client cancels.
        """
        started = time.perf_counter()
        view = self._view(uri)
        requests = self.metrics.requests
        requests.total += 1
        settings = self.settings
        place = 0 if view is None else view.own.text.byte_at(line, character, self.encoding)
        question = self._question(view, place, 1 if automatic else settings.completion.max_items)
        if view is None or question is None or (automatic and settings.trigger == "invoked"):
            requests.empty += 1
            return None
        self.ahead.mark(uri, place)
        entry = None if selected is None else self._entry(selected, view)
        delay_ms = settings.debounce.ms if automatic and settings.debounce.mode != "off" else 0
        try:
            completion = await self.answers.answer(entry.taken(question) if entry else question, delay_ms)
        except Superseded:
            requests.superseded += 1
            return None
        except asyncio.CancelledError:
            requests.cancelled += 1
            raise
        except Exception:
            requests.failed += 1
            raise
        if entry is not None:
            completion = entry.in_front_of(completion, view.whole)
        self.answers.last[uri] = completion
        self.metrics.count(completion)
        self.metrics.time((time.perf_counter() - started) * 1000)
        self.focus(uri)
        return evolve(completion, snapshot=view.own, cursor_byte=completion.cursor_byte - view.offset_byte)

    def _question(self, view: View | None, place: int, n_items: int = 1) -> Question | None:
        """What a request at byte `place` of a document or cell asks for; `None` where nothing is suggested."""
        if self.model is None or view is None or why_not(view.whole, self.settings):
            return None
        cursor_byte = view.offset_byte + min(place, len(view.own.text.data))
        around = self.recent.around(self.documents, view.own.uri)
        return Question(view.key, view.whole, cursor_byte, self.model, self.settings, around, n_items)

    def _entry(self, selected: Edit, view: View) -> Entry:
        text = view.own.text
        start_byte = text.byte_at(selected.start_line or 0, selected.start_character, self.encoding)
        end_byte = max(start_byte, text.byte_at(selected.end_line, selected.end_character, self.encoding))
        inserted = selected.text.encode("utf-8", "surrogatepass")
        return Entry(view.offset_byte + start_byte, view.offset_byte + end_byte, inserted)

    def _persist(self, uri: str) -> None:
        """Let the engine keep a closed document's cells, where it can."""
        cache = self.model.engine.cache if self.model is not None else None
        if cache is not None:
            cache.persist(uri)

    async def explain(self, uri: str, line: int, character: int) -> dict[str, Any] | None:
        """What the model would see there and why.

        `None` while there is no model, for a document that gets none, and for a question with a newer one behind it.
        """
        view = self._view(uri)
        place = 0 if view is None else view.own.text.byte_at(line, character, self.encoding)
        question = self._question(view, place)
        if question is None:
            return None
        snapshot, cursor_byte, model = question.snapshot, question.cursor_byte, question.model

        def work() -> dict[str, Any]:
            started = time.perf_counter()
            window = see(snapshot, cursor_byte, model, question.settings, question.around)
            explained = explain(window, ask(window, model), model.prompts.tokenizer, snapshot.uri)
            explained["timingsMs"] = {"window": round((time.perf_counter() - started) * 1000, 3)}
            return explained

        try:
            explained = await self.scheduler.run(f"explain {uri}", lambda _cancellation: in_background(work))
        except Superseded:
            return None
        last = self.answers.last.get(uri)
        if last is not None and (last.snapshot is not snapshot or last.cursor_byte != cursor_byte or not last.filters):
            last = None
        return explained | self._outcome(last, explained["timingsMs"])

    def _outcome(self, last: Completion | None, timings_ms: dict[str, float]) -> dict[str, Any]:
        """What the filters did to the last suggestion here, if there was one."""
        if last is None:
            return {"filters": [{"name": f.__name__, "effect": "not run"} for f in FILTERS], "timingsMs": timings_ms}
        timings = last.timings
        return {
            "filters": [{"name": e.name, "effect": e.effect} for e in last.filters],
            "timingsMs": timings_ms | {"prefill": round(timings.prefill_ms, 3), "decode": round(timings.decode_ms, 3)},
        }

    def writable(self, uri: str) -> View | None:
        """The document or cell in which something can be written now, otherwise `None`. Raises `UnknownDocument`."""
        view = self._view(uri)
        return None if self.model is None or view is None or why_not(view.whole, self.settings) else view

    def _view(self, uri: str) -> View | None:
        """The document or cell as the editor has it; `None` if it is out of step. Raises `UnknownDocument`."""
        if uri in self.notebooks or uri not in self.documents:
            return self.notebooks.view(uri)
        snapshot = self.documents.get(uri)
        return None if snapshot is None else View(uri, snapshot, snapshot)

    async def report(self) -> dict[str, Any]:
        """The answer to `starcoder/metrics`."""
        model = self.model
        cache = model.engine.cache if model is not None else None
        cached = await cache.cached() if cache is not None else ()
        report = self.metrics.report(model, cached)
        return report | {"suggestions": self.offers.report()}

    async def clear_cache(self) -> None:
        """Forget every KV state of this session, on disk too, and every suggestion."""
        self.answers.memory.forget_all()
        cache = self.model.engine.cache if self.model is not None else None
        if cache is not None:
            await cache.forget()

    def stop(self) -> None:
        """Give up on everything that waits or runs."""
        self.scheduler.supersede_all()

    async def end(self) -> None:
        """Let go of the engine, which may keep what it has of the documents."""
        if self.model is not None:
            await self.model.engine.close()


def end_of(edit: Edit, text: Text, encoding: PositionEncoding) -> int:
    """The byte behind what an edit of a range inserted into `text`, which is the text after it."""
    start_byte = text.byte_at(edit.start_line or 0, edit.start_character, encoding)
    return min(len(text.data), start_byte + len(edit.text.encode("utf-8", "surrogatepass")))
