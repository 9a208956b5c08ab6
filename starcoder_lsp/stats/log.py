"""Turn the messages of one session into events about its suggestions. On the event loop.

The suggestions for a place are one answer. If the user types the beginning of a suggestion and the client requests the
rest, that is the same suggestion.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from attrs import define, field, frozen

from starcoder_lsp.stats.answers import Answer, Change, EditEffect, Region, Suggestion, Verdict
from starcoder_lsp.stats.events import (
    ACCEPTED,
    BLOCK,
    MAX_KEPT_DISTANCE,
    REST_OF_LINE,
    REWRITE,
    Checked,
    Conditions,
    Ended,
    Fragments,
    NoSink,
    Offered,
    Outcome,
    Shown,
    Sink,
    Withheld,
    Written,
    of_kind,
)
from starcoder_lsp.stats.follow import Follower
from starcoder_lsp.stats.keys import NO_KEYS, Keys
from starcoder_lsp.stats.offers import OfferedItem, Place
from starcoder_lsp.stats.rewrite_tasks import RewriteTasks
from starcoder_lsp.stats.tracked import Splice

WRITTEN_EVERY_S = 30.0
"""The interval at which written characters are recorded. A crash loses those since the last one."""
N_NAMED = 64
"""The most suggestions whose outcome the client may still report; older names are forgotten. Not measured."""
MIN_LINE_BYTES = 3
"""An edit that inserts so many bytes, up to the end of a suggestion's line, accepts that line. Not measured."""
KEPT_AFTER_S = 120
"""The time after which an accepted rewrite counts as kept: the next request there is a new task."""
RECENT_SHARE = 0.1
"""Weight of the newest outcome in `SuggestionLog.recent`."""


@frozen
class Clock:
    """Both clocks: `now_ms` since 1970, which may jump, and `monotonic_s`, which measures durations."""

    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    monotonic_s: Callable[[], float] = time.monotonic


@define(eq=False)
class _Document:
    """A document in which a suggestion is open or followed."""

    data: bytes
    answers: list[Answer] = field(factory=list)
    """At most one answer to a request, and rewrites whose edit may still come."""
    follower: Follower = field(factory=Follower)


@define(eq=False)
class SuggestionLog:
    """The suggestions of one session. `keys` make the hashes."""

    sink: Sink = field(factory=NoSink)
    keys: Keys = NO_KEYS
    clock: Clock = field(factory=Clock)
    recent: float = 0.0
    """The share of the last suggestions that were accepted, a moving average of 1 and 0."""
    _rewrites: RewriteTasks = field(factory=RewriteTasks)
    _documents: dict[str, _Document] = field(factory=dict)
    _named: OrderedDict[str, tuple[Answer, Suggestion]] = field(factory=OrderedDict)
    _last_number: int = field(factory=lambda: secrets.randbits(42) << 20)
    _written: dict[str, int] = field(factory=dict)
    _written_at_s: float = 0.0

    def offer(self, place: Place, items: Sequence[OfferedItem], conditions: Conditions) -> None:
        """Record an answer that is sent, unless it is the rest of an earlier one. `conditions.kind` may be empty."""
        if not items:
            return
        document = self._documents.setdefault(place.uri, _Document(place.data))
        document.data = place.data
        is_rewrite = conditions.kind.startswith(REWRITE)
        for open_answer in list(document.answers):
            same = open_answer.continues(place.start_byte, items[0].text) if len(items) == 1 else None
            if same is not None:
                self._name(items[0].name, open_answer, same)
                return
            if not is_rewrite and not open_answer.is_rewrite:
                self._leave(document, open_answer)
        answer = Answer(place.uri, place.start_byte, [], is_rewrite=is_rewrite)
        document.answers.append(answer)
        first = self._last_number + 1
        for alternative, item in enumerate(items, 1):
            self._last_number += 1
            suggestion = Suggestion(self._last_number, item.name, item.text, item.n_replaced_bytes)
            answer.suggestions.append(suggestion)
            self._name(item.name, answer, suggestion)
            kind = conditions.kind or (BLOCK if b"\n" in item.text.strip() else REST_OF_LINE)
            if is_rewrite:
                self._rewrites.offer(suggestion.number, place.uri, kind)
            self.sink.emit(
                Offered(
                    suggestion=suggestion.number,
                    answer=first,
                    alternative=alternative,
                    at_ms=self.clock.now_ms(),
                    conditions=conditions if conditions.kind else of_kind(conditions, kind),
                    measures=item.measures,
                    document=place.document,
                    repository=place.repository,
                    features=item.features,
                )
            )

    def withhold(self, conditions: Conditions, by: str) -> None:
        """Record that a filter or the gate dropped all that the model wrote."""
        self.sink.emit(Withheld(self.clock.now_ms(), conditions, by))

    def ask_rewrite(self, uri: str, kind: str, start_byte: int) -> None:
        """Note that the user requests a rewrite; its answer comes by `offer`."""
        self._rewrites.ask(uri, kind, start_byte, self.clock.monotonic_s())

    def show(self, name: str) -> None:
        """Record that the client shows a suggestion."""
        if name in self._named:
            self.sink.emit(Shown(self._named[name][1].number, self.clock.now_ms()))

    def accept(self, name: str) -> None:
        """Record an acceptance that the client reports; its edit may come before or after."""
        if name in self._named:
            _, suggestion = self._named[name]
            suggestion.is_reported = True
            n_chars = suggestion.n_accepted_chars or _n_chars(suggestion.text)
            self._end(suggestion, Outcome.WHOLE, n_chars)

    def accept_part(self, name: str) -> None:
        """Record an accepted part that the client reports; its edit may come before or after."""
        if name in self._named:
            answer, _ = self._named[name]
            if answer.part is None:
                answer.expects_part = True
            else:
                self._take_part(answer, answer.part)

    def reject(self, name: str) -> None:
        """Record that the user rejected a suggestion."""
        if name in self._named:
            _, suggestion = self._named[name]
            if not suggestion.is_ended and not suggestion.n_accepted_chars:
                self._end(suggestion, Outcome.REJECTED)

    def edited(
        self, uri: str, language: str, splices: Sequence[Splice], after: bytes, *, is_whole: bool = False
    ) -> None:
        """Follow the edits of one change, in order. `after` is the document after them.

        `is_whole` says that the client sent the whole document.
        """
        now_s = self.clock.monotonic_s()
        n_chars = sum(_n_chars(splice.inserted) for splice in splices)
        self._written[language] = self._written.get(language, 0) + n_chars
        if now_s - self._written_at_s >= WRITTEN_EVERY_S:
            self._emit_written(now_s)
        document = self._documents.get(uri)
        if document is None or not splices:
            return
        self._emit_checks(document.follower.due(now_s, document.data))
        change = Change(document.data, after, Region.of(splices))
        document.follower.edited(splices, document.data, after, is_whole=is_whole)
        document.data = after
        self._rewrites.edited(uri, splices)
        for answer in list(document.answers):
            self._judge(document, answer, answer.edit(change))
        if not document.answers and not document.follower.followed:
            del self._documents[uri]

    def tick(self) -> None:
        """Make the checks that are due. Call it every few seconds."""
        now_s = self.clock.monotonic_s()
        for document in self._documents.values():
            self._emit_checks(document.follower.due(now_s, document.data))
        self._emit_written(now_s)

    def close(self, uri: str) -> None:
        """Forget a document that was closed or is out of sync."""
        document = self._documents.pop(uri, None)
        if document is not None:
            self._emit_checks(document.follower.due(self.clock.monotonic_s(), document.data))
            for answer in list(document.answers):
                self._leave(document, answer)
            self._emit_checks(document.follower.closed())

    def end(self) -> None:
        """Forget everything: the session ends."""
        for uri in list(self._documents):
            self.close(uri)
        self._emit_written(self.clock.monotonic_s())

    def _judge(self, document: _Document, answer: Answer, verdict: Verdict) -> None:
        """Record the effect of an edit on an open answer."""
        suggestion = verdict.suggestion
        if verdict.effect is EditEffect.LEFT:
            self._leave(document, answer)
        elif suggestion is None:
            return
        elif verdict.effect is EditEffect.INSERTED or (verdict.effect is EditEffect.TYPED and suggestion.is_reported):
            is_reported = suggestion.is_reported or answer.expects_part or suggestion.n_accepted_chars
            self._take(suggestion, answer.uri, verdict)
            self._end(suggestion, Outcome.WHOLE if is_reported else Outcome.INFERRED, suggestion.n_accepted_chars)
            self._leave(document, answer)
        elif verdict.effect is EditEffect.TYPED:
            if not suggestion.n_accepted_chars:
                self._end(suggestion, Outcome.TYPED)
            self._leave(document, answer)
        elif verdict.effect is EditEffect.PART:
            is_line = verdict.ends_line and len(verdict.text) >= MIN_LINE_BYTES
            if answer.expects_part or is_line:
                self._take_part(answer, verdict)

    def _take_part(self, answer: Answer, part: Verdict) -> None:
        """Record an accepted part; the rest may still come."""
        answer.part, answer.expects_part = None, False
        if part.suggestion is not None:
            self._take(part.suggestion, answer.uri, part)
            outcome = Outcome.LINE if part.ends_line else Outcome.WORD
            self._end(part.suggestion, outcome, part.suggestion.n_accepted_chars)
            part.suggestion.is_ended = False

    def _take(self, suggestion: Suggestion, uri: str, part: Verdict) -> None:
        """Follow an accepted text from now on."""
        suggestion.n_accepted_chars += _n_chars(part.text)
        follower = self._documents[uri].follower
        self._emit_checks(follower.accept(suggestion.number, self.clock.monotonic_s(), part.start_byte, part.text))
        lines = self.keys.fragments(part.text.decode("utf-8", "replace"))
        if lines:
            self.sink.emit(Fragments(suggestion.number, lines))

    def _end(self, suggestion: Suggestion, outcome: Outcome, n_chars: int = 0) -> None:
        if not suggestion.is_ended:
            self.recent += RECENT_SHARE * ((outcome in ACCEPTED) - self.recent)
        suggestion.is_ended = True
        is_accepted = outcome in ACCEPTED
        waited_ms = self._rewrites.waited_ms(suggestion.number, self.clock.monotonic_s()) if is_accepted else None
        self.sink.emit(Ended(suggestion.number, self.clock.now_ms(), outcome, n_chars, waited_ms))

    def _leave(self, document: _Document, answer: Answer) -> None:
        """End an answer. Its suggestions that were neither accepted nor rejected count as superseded."""
        for suggestion in answer.suggestions:
            if not suggestion.is_ended and not suggestion.n_accepted_chars:
                self._end(suggestion, Outcome.SUPERSEDED)
        answer.part = None
        document.answers.remove(answer)

    def _name(self, name: str, answer: Answer, suggestion: Suggestion) -> None:
        self._named[name] = (answer, suggestion)
        while len(self._named) > N_NAMED:
            self._named.popitem(last=False)

    def _emit_checks(self, checks: Iterable[Checked]) -> None:
        for check in checks:
            self.sink.emit(check)
            is_kept = check.distance is not None and check.distance <= MAX_KEPT_DISTANCE
            if is_kept and check.after_s >= KEPT_AFTER_S:
                self._rewrites.keep(check.suggestion)

    def _emit_written(self, now_s: float) -> None:
        self._written_at_s = now_s
        for language, n_chars in self._written.items():
            if n_chars:
                self.sink.emit(Written(self.clock.now_ms(), language, n_chars))
        self._written.clear()


def _n_chars(data: bytes) -> int:
    return len(data) if data.isascii() else len(data.decode("utf-8", "replace"))
