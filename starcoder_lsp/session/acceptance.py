"""What was suggested lately, by name, and what became of it: shown, accepted, accepted in part, rejected.

Clients tell in different ways, or not at all; then an edit that inserts what was suggested says it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from attrs import asdict, define, field, frozen

from starcoder_lsp.completion import Completion, Item

N_REMEMBERED = 64
"""Suggestions of which it may still be said what became of them."""


@define
class Outcomes:
    """How many suggestions were offered, and what became of them; `partly` counts parts that were accepted."""

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
    """The suggestions of one session."""

    outcomes: Outcomes = field(factory=Outcomes)
    _open: OrderedDict[str, OfferedSuggestion] = field(factory=OrderedDict)
    """Those of which nothing is known yet, by name."""
    _shown: set[str] = field(factory=set)

    def make(self, uri: str, completion: Completion) -> list[tuple[str, Item]]:
        """Give the suggestions of an answer names to speak of them by."""
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
        """The client says that a person saw these."""
        for name in names:
            if name in self._open and name not in self._shown:
                self._shown.add(name)
                self.outcomes.shown += 1

    def accept(self, name: str) -> None:
        """A suggestion was accepted. It is counted once, however often that is said."""
        if self._open.pop(name, None) is not None:
            self._shown.discard(name)
            self.outcomes.accepted += 1

    def accept_part(self, name: str) -> None:
        """A part of a suggestion was accepted; of what is left more may be."""
        self.outcomes.partly += name in self._open

    def reject(self, names: Iterable[str]) -> None:
        """The client says that a person did not want these."""
        for name in names:
            if self._open.pop(name, None) is not None:
                self._shown.discard(name)
                self.outcomes.rejected += 1

    def edited(self, uri: str, start_byte: int, inserted: bytes) -> None:
        """One edit inserted a text: if it is what was suggested there, that was accepted. What is typed is no such."""
        if len(inserted) > 1:
            same = OfferedSuggestion(uri, start_byte, inserted)
            self.accept(next((name for name, offer in reversed(self._open.items()) if offer == same), ""))

    def report(self) -> dict[str, int]:
        """The counters."""
        return asdict(self.outcomes)
