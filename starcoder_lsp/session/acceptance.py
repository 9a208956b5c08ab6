"""Recent suggestions by name, and their outcomes: shown, accepted, accepted in part, rejected.

Some clients report outcomes. For those that do not, an edit that inserts a suggestion counts as its acceptance.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from attrs import asdict, define, field, frozen

from starcoder_lsp.completion import Completion, Item
from starcoder_lsp.stats.log import SuggestionLog

N_REMEMBERED = 64
"""The most suggestions that wait for an outcome; older ones are forgotten. Not measured."""


@define
class Outcomes:
    """Counts of suggestions by outcome; `partly` counts accepted parts."""

    offered: int = 0
    shown: int = 0
    accepted: int = 0
    partly: int = 0
    rejected: int = 0


@frozen
class OfferedSuggestion:
    """A suggestion that was sent: `text` at a byte of a document."""

    uri: str
    start_byte: int
    text: bytes


@define
class AcceptanceTracker:
    """Counts the outcomes of one session's suggestions."""

    outcomes: Outcomes = field(factory=Outcomes)
    log: SuggestionLog = field(factory=SuggestionLog)
    """Records what the client says of suggestions."""
    _open: OrderedDict[str, OfferedSuggestion] = field(factory=OrderedDict)
    """Suggestions without an outcome yet, by name."""
    _shown: set[str] = field(factory=set)

    def make(self, uri: str, completion: Completion) -> list[tuple[str, Item]]:
        """Record the suggestions of an answer, and return them with their names."""
        named = []
        for item in completion.items:
            self.outcomes.offered += 1
            name = str(self.outcomes.offered)
            self._open[name] = OfferedSuggestion(uri, completion.cursor_byte, item.text.encode())
            named.append((name, item))
        while len(self._open) > N_REMEMBERED:
            forgotten, _ = self._open.popitem(last=False)
            self._shown.discard(forgotten)
        return named

    def show(self, names: Iterable[str]) -> None:
        """Count suggestions that the client has shown."""
        for name in names:
            self.log.show(name)
            if name in self._open and name not in self._shown:
                self._shown.add(name)
                self.outcomes.shown += 1

    def accept(self, name: str) -> None:
        """Count a suggestion that the client says was accepted, once."""
        self.log.accept(name)
        self._count_accepted(name)

    def _count_accepted(self, name: str) -> None:
        if self._open.pop(name, None) is not None:
            self._shown.discard(name)
            self.outcomes.accepted += 1

    def accept_part(self, name: str) -> None:
        """Count an accepted part of a suggestion; the rest may be accepted later."""
        self.log.accept_part(name)
        self.outcomes.partly += name in self._open

    def reject(self, names: Iterable[str]) -> None:
        """Count suggestions that the user rejected."""
        for name in names:
            self.log.reject(name)
            if self._open.pop(name, None) is not None:
                self._shown.discard(name)
                self.outcomes.rejected += 1

    def edited(self, uri: str, start_byte: int, inserted: bytes) -> None:
        """Count a suggestion as accepted if one edit inserted it. A single typed byte does not count."""
        if len(inserted) > 1:
            same = OfferedSuggestion(uri, start_byte, inserted)
            self._count_accepted(next((name for name, offer in reversed(self._open.items()) if offer == same), ""))

    def report(self) -> dict[str, int]:
        """Return the counts."""
        return asdict(self.outcomes)
