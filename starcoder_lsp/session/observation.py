"""Report suggestions and edits of a session to the statistics, in the values of `stats/log.py`. On the event loop.

Only numbers and keyed hashes are recorded; source text stays in memory. Nothing here waits for a disk, except
that the links in a document's path are followed once.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import asdict, define, evolve, field

from starcoder_lsp.completion import Completion, Item
from starcoder_lsp.documents.documents import Edit, Snapshot, UnknownDocumentError, language_of
from starcoder_lsp.documents.notebooks import View
from starcoder_lsp.documents.uris import path_of
from starcoder_lsp.lru import LruDict
from starcoder_lsp.prompting import Model
from starcoder_lsp.rewrites.rewrite import Rewrite
from starcoder_lsp.rewrites.targets import Hole
from starcoder_lsp.session.open_texts import OpenTexts
from starcoder_lsp.settings import Settings
from starcoder_lsp.stats.events import REWRITE, Conditions, Measures, NoSink, Sink, Started
from starcoder_lsp.stats.keys import NO_KEYS, Keys
from starcoder_lsp.stats.log import SuggestionLog
from starcoder_lsp.stats.offers import OfferedItem, Place
from starcoder_lsp.stats.tracked import Splice
from starcoder_lsp.suggestions.postprocess import Effect

TICK_S = 5.0
"""The interval at which accepted texts are compared. The comparison uses the text of the due time, not of the tick."""
MATTERS = ("completion", "context", "debounce")
"""Groups of settings that may change whether a suggestion is accepted. None of them is private."""


@define(eq=False)
class Observation:
    """Records the suggestions of one session while it is on."""

    now: Callable[[], tuple[Settings, Model | None]]
    """Returns the session's settings and its model, if one is loaded."""
    texts: OpenTexts
    root_of: Callable[[str], Path | None]
    log: SuggestionLog = field(factory=SuggestionLog)
    is_on: bool = False
    model_hash: str = ""
    _n_rewrites: int = 0
    _known: tuple[Settings, str] | None = None
    """The last settings, and their `changed_settings`."""
    _conditions_of: LruDict[tuple[str, str, str], Conditions] = field(factory=lambda: LruDict(64))
    """The conditions by language, model and its hash, for the last settings."""
    _hashes: LruDict[str, tuple[str, str]] = field(factory=lambda: LruDict(64))
    """Keyed hashes of path and root folder, by document or cell."""
    _uris: dict[str, set[str]] = field(factory=dict)
    """The documents and cells with suggestions, by the document or notebook that they are closed with."""

    def start(self, sink: Sink, keys: Keys, client: str) -> None:
        """Record from now on."""
        self.is_on, self.log.sink, self.log.keys = True, sink, keys
        self._hashes.clear()
        sink.emit(Started(secrets.randbits(62), self.log.clock.now_ms(), client))

    def stop(self) -> None:
        """Record nothing any more."""
        self.log.end()
        self.is_on, self.log.sink, self.log.keys = False, NoSink(), NO_KEYS

    async def keep_checking(self) -> None:
        """Compare accepted texts with the documents every `TICK_S`, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self.log.tick()

    def offer(self, completion: Completion, named: Sequence[tuple[str, Item]]) -> None:
        """Record an answer that is sent, or the filter that dropped all of it."""
        own = completion.snapshot
        conditions, view = self._conditions(own), self._view(own.uri)
        if conditions is None or view is None or view.own is not own:
            return
        if not named:
            dropped = next((each.name for each in completion.filters if each.effect is Effect.DROPPED), "")
            if dropped:
                self.log.withhold(conditions, dropped)
            return
        self._uris.setdefault(view.key, set()).add(own.uri)
        first, *others = named
        items = [_item(first, _measures(completion, first[1]), completion.features)]
        items += [_item(each, _size(each[1].text, completion.latency_ms)) for each in others]
        self.log.offer(self._place(own, completion.cursor_byte), items, conditions)

    def ask_rewrite(self, view: View, kind: str, hole: Hole) -> None:
        """Note that the user requests a rewrite of a hole, in the document or cell of `view` or in another file."""
        if self.is_on:
            own, offset_byte = _own(view, hole.snapshot)
            self.log.ask_rewrite(own.uri, f"{REWRITE}: {kind}", hole.start_byte - offset_byte)

    def offer_rewrite(self, view: View, kind: str, rewrite: Rewrite) -> None:
        """Record a rewrite that is sent."""
        own, offset_byte = _own(view, rewrite.snapshot)
        conditions = self._conditions(own)
        if conditions is None:
            return
        self._n_rewrites += 1
        self._uris.setdefault(view.key if own is view.own else own.uri, set()).add(own.uri)
        item = Item(rewrite.text, rewrite.end_byte - rewrite.start_byte)
        named = _item((f"rewrite {self._n_rewrites}", item), _measures(rewrite.completion, item))
        place = self._place(own, rewrite.start_byte - offset_byte)
        self.log.offer(place, [named], evolve(conditions, kind=f"{REWRITE}: {kind}"))

    def edited(self, view: View | None, uri: str, edits: Sequence[Edit]) -> None:
        """Report the edits that led to the text of `view`; `None` if that is out of sync."""
        if not self.is_on:
            return
        if view is None:
            self.log.close(uri)
            return
        own = view.own
        edits = edits[len(edits) - len(own.input_edits) :]
        is_whole = bool(edits) and edits[0].start_line is None
        splices = []
        for edit, made in zip(edits, own.input_edits, strict=True):
            inserted = edit.text.encode("utf-8", "surrogatepass")
            if edit.start_line is None:
                inserted = inserted[made.start_byte : made.new_end_byte]
            splices.append(Splice(made.start_byte, made.old_end_byte, inserted))
        self.log.edited(uri, language_of(own).id or own.language_id, splices, own.text.data, is_whole=is_whole)

    def close(self, key: str) -> None:
        """Forget a document, or the cells of a notebook."""
        for uri in self._uris.pop(key, ()):
            self.log.close(uri)

    def _view(self, uri: str) -> View | None:
        with suppress(UnknownDocumentError):
            return self.texts.view(uri)
        return None

    def _conditions(self, own: Snapshot) -> Conditions | None:
        """Return language, model and settings of a suggestion made now; `None` if nothing is recorded."""
        settings, model = self.now()
        if not self.is_on or model is None:
            return None
        if self._known is None or self._known[0] is not settings:  # to compare settings takes longer than all the rest
            self._known = (settings, changed_settings(settings))
            self._conditions_of.clear()
        known = (language_of(own).id or own.language_id, model.prompts.name, self.model_hash)
        if known not in self._conditions_of:
            language, name, model_hash = known
            kind = settings.engine.kind
            self._conditions_of[known] = Conditions(language, "", name, model_hash, kind, self._known[1])
        return self._conditions_of[known]

    def _place(self, own: Snapshot, start_byte: int) -> Place:
        if own.uri not in self._hashes:
            root = self.root_of(own.uri)
            repository = self.log.keys.of(str(root)) if root is not None else ""
            self._hashes[own.uri] = (self.log.keys.of(_real_path(own.uri)), repository)
        return Place(own.uri, start_byte, own.text.data, *self._hashes[own.uri])


def _real_path(uri: str) -> str:
    """Return a document's path after links are followed, as git names the files of a work tree."""
    path = path_of(uri)
    try:
        return os.path.realpath(path)
    except ValueError:  # a NUL
        return path


def _own(view: View, snapshot: Snapshot) -> tuple[Snapshot, int]:
    """Return the document or cell of a text, and the byte of the text at which it begins."""
    return (view.own, view.offset_byte) if snapshot is view.whole else (snapshot, 0)


def _item(named: tuple[str, Item], measures: Measures, features: tuple[float, ...] = ()) -> OfferedItem:
    name, item = named
    text = item.text.encode("utf-8", "surrogatepass")
    return OfferedItem(name, text, item.n_replaced_bytes, measures, features)


def changed_settings(settings: Settings) -> str:
    """Return the settings that matter and differ from their defaults, as `group.name=value`, separated by blanks."""
    default = Settings()
    return " ".join(
        f"{group}.{name}={value}"
        for group in MATTERS
        for name, value in asdict(getattr(settings, group)).items()
        if value != getattr(getattr(default, group), name)
    )


def _size(text: str, latency_ms: float) -> Measures:
    return Measures(len(text), text.count("\n") + 1, latency_ms=latency_ms)


def _measures(completion: Completion, item: Item) -> Measures:
    """Return size and cost of an answer's first suggestion; its tokens are those of all that the model wrote."""
    generation, latency_ms = completion.generation, completion.latency_ms
    if generation is None:
        return _size(item.text, latency_ms)
    best = max(generation.written, key=lambda written: written.first_line_logprob)
    confidence = sum(best.logprobs) / len(best.logprobs) if best.logprobs else None
    cut_by = next((each.name for each in completion.filters if each.effect is Effect.CUT), "")
    n_lines = item.text.count("\n") + 1
    return Measures(len(item.text), n_lines, len(best.ids), latency_ms, confidence, cut_by)
